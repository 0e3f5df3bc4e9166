"""What video, GIF and picture files do to a single picture."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream
from PIL import Image

from likeness.media.video_encoding import REPEATABLE
from likeness.types import Pixels

# Options of each encoder at a level on the scale of x264's crf, 0 (good) to 51 (poor). The others' own scales are laid
# on it by the error that they leave on faces of 128 and 256 px.
ENCODERS: Mapping[str, Callable[[int], dict[str, str]]] = {
    "libx264": lambda level: {"crf": str(level), "preset": "medium", **REPEATABLE},
    "libx265": lambda level: {
        "crf": str(level),
        "preset": "ultrafast",
        "x265-params": "log-level=none:pools=none:frame-threads=1",
    },
    "libvpx-vp9": lambda level: {
        "crf": str(min(63, level * 3 // 2)),
        "b": "0",
        "deadline": "realtime",
        "cpu-used": "8",
    },
    "mpeg4": lambda level: {name: str(_mpeg4_step(level)) for name in ("qmin", "qmax")} | {"bf": "2"},
}


def _mpeg4_step(level: int) -> int:
    """MPEG-4's quantiser: linear, where a crf's doubles every six."""
    return min(31, max(2, round(2 ** ((level - 12) / 6))))


def h264_still(image: Pixels, crf: int) -> Pixels:
    """One H.264 intra frame there and back: HWC uint8, `crf` 0 (good) to 51 (poor)."""
    return _coded([image], 0, "libx264", {"crf": str(crf), "preset": "veryfast", **REPEATABLE})


def film_frame(frames: Sequence[Pixels], which: int, level: int, encoder: str = "libx264") -> Pixels:
    """Frame `which` of a short film, there and back: mostly predicted from its neighbours, as most frames are.

    Args:
        frames: HWC uint8 of one size; where a side is odd, its last row or column is doubled for the encoder.
        which: 0-based.
        level: 0 (good) to 51 (poor).
        encoder: one of `ENCODERS`.
    """
    return _coded(frames, which, encoder, ENCODERS[encoder](level))


def _coded(frames: Sequence[Pixels], which: int, encoder: str, options: dict[str, str]) -> Pixels:
    height, width = frames[0].shape[:2]
    padding = ((0, height % 2), (0, width % 2), (0, 0))
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as out:
        stream = cast(VideoStream, out.add_stream(encoder, rate=25, options=options))
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        stream.thread_count = 1
        for frame in frames:
            whole = np.ascontiguousarray(np.pad(frame, padding, "edge"))
            out.mux(stream.encode(av.VideoFrame.from_ndarray(whole, format="rgb24")))
        out.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer, "r") as source:
        source.streams.video[0].thread_count = 1
        found = next(islice(source.decode(video=0), which, None)).to_ndarray(format="rgb24")
    return np.asarray(found[:height, :width])


def webp(image: Pixels, quality: int) -> Pixels:
    """There and back: HWC uint8, `quality` 0 (poor) to 100."""
    return _saved(image, "WEBP", quality=quality)


def avif(image: Pixels, quality: int) -> Pixels:
    """There and back: HWC uint8, `quality` 0 (poor) to 100; at speed 9, as the default takes seven times as long."""
    return _saved(image, "AVIF", quality=quality, speed=9, max_threads=1)


def _saved(image: Pixels, kind: str, **options: int) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    buffer.seek(0)
    with Image.open(buffer) as picture:
        return np.asarray(picture.convert("RGB"))


def palette(image: Pixels, colours: int) -> Pixels:
    """A GIF's palette of `colours` (2-256) with Floyd-Steinberg dither: HWC uint8."""
    picture = Image.fromarray(image)
    # Chosen from one pixel of 16: of all of a noisy picture's pixels the cut takes .15 s.
    few = Image.fromarray(np.ascontiguousarray(image[::4, ::4]))
    table = few.quantize(colours, method=Image.Quantize.MEDIANCUT)
    return np.asarray(picture.quantize(colours, palette=table, dither=Image.Dither.FLOYDSTEINBERG).convert("RGB"))
