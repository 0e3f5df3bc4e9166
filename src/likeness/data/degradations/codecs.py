"""Compression artefacts: a picture encoded and decoded again by video, GIF and image codecs."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, cast

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.video.stream import VideoStream
from PIL import Image

from likeness.media.video_encoding import REPEATABLE
from likeness.types import Pixels

# Options of each encoder for a level on the scale of x264's crf, 0 (good) to 51 (poor). The other encoders' scales are
# mapped to it by their mean error on faces of 128 and 256 px.
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
    "mpeg4": lambda level: {name: str(_mpeg4_quantiser(level)) for name in ("qmin", "qmax")} | {"bf": "2"},
}


def _mpeg4_quantiser(level: int) -> int:
    """MPEG-4's quantiser is linear; crf doubles it every six steps."""
    return min(31, max(2, round(2 ** ((level - 12) / 6))))


def encode_clip_frame(frames: Sequence[Pixels], index: int, level: int, encoder: str = "libx264") -> Pixels:
    """Encodes a short clip and decodes one frame of it, which is mostly predicted from its neighbours.

    Args:
        frames: HWC uint8 of one size. An odd side is padded by one row or column for the encoder.
        index: of the frame to decode, 0-based.
        level: 0 (good) to 51 (poor).
        encoder: one of `ENCODERS`.

    Returns:
        HWC uint8 of the frames' size.
    """
    return _encode_video(frames, index, encoder, ENCODERS[encoder](level))


def h264_still(image: Pixels, crf: int) -> Pixels:
    """One H.264 intra frame, encoded and decoded: HWC uint8, `crf` 0 (good) to 51 (poor)."""
    return _encode_video([image], 0, "libx264", {"crf": str(crf), "preset": "veryfast", **REPEATABLE})


def _encode_video(frames: Sequence[Pixels], index: int, encoder: str, options: dict[str, str]) -> Pixels:
    height, width = frames[0].shape[:2]
    padding = ((0, height % 2), (0, width % 2), (0, 0))
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as out:
        stream = cast(VideoStream, out.add_stream(encoder, rate=25, options=options))
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        stream.thread_count = 1
        for frame in frames:
            padded = np.ascontiguousarray(np.pad(frame, padding, "edge"))
            out.mux(stream.encode(av.VideoFrame.from_ndarray(padded, format="rgb24")))
        out.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer, "r") as source:
        source.streams.video[0].thread_count = 1
        decoded = next(islice(source.decode(video=0), index, None)).to_ndarray(format="rgb24")
    return np.asarray(decoded[:height, :width])


def webp(image: Pixels, quality: int) -> Pixels:
    """Encoded and decoded as WebP: HWC uint8, `quality` 0 (poor) to 100."""
    return _encode_image(image, "WEBP", quality=quality)


def avif(image: Pixels, quality: int) -> Pixels:
    """Encoded and decoded as AVIF: HWC uint8, `quality` 0 (poor) to 100. The default speed takes seven times longer."""
    return _encode_image(image, "AVIF", quality=quality, speed=9, max_threads=1)


def _encode_image(image: Pixels, kind: str, **options: int) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    buffer.seek(0)
    with Image.open(buffer) as picture:
        return np.asarray(picture.convert("RGB"))


def jpeg(image: Pixels, quality: int) -> Pixels:
    """Encoded and decoded as JPEG: HWC uint8, `quality` 0..100."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None  # it was encoded above
    return decoded[..., ::-1]


def palette(image: Pixels, colours: int) -> Pixels:
    """Reduced to a GIF's palette of 2 to 256 `colours` with Floyd-Steinberg dither: HWC uint8."""
    picture = Image.fromarray(image)
    # The palette is chosen from one pixel of 16: for all pixels of a noisy picture the median cut takes 0.15 s.
    subset = Image.fromarray(np.ascontiguousarray(image[::4, ::4]))
    table = subset.quantize(colours, method=Image.Quantize.MEDIANCUT)
    return np.asarray(picture.quantize(colours, palette=table, dither=Image.Dither.FLOYDSTEINBERG).convert("RGB"))


class StillCodec(NamedTuple):
    """A codec for single pictures.

    Attributes:
        roundtrip: encodes and decodes HWC uint8 at a level.
        levels: first and last level that recipes sample.
    """

    roundtrip: Callable[[Pixels, int], Pixels]
    levels: tuple[int, int]


STILL_CODECS: Mapping[str, StillCodec] = {
    "h264": StillCodec(h264_still, (23, 38)),  # crf
    "palette": StillCodec(palette, (64, 256)),  # colours
    "webp": StillCodec(webp, (20, 80)),  # quality
    "avif": StillCodec(avif, (20, 70)),  # quality
}


def to_uint8(image: npt.NDArray[Any]) -> Pixels:
    """Rounds and clips values on the 0..255 scale."""
    return np.rint(np.clip(image, 0, 255)).astype(np.uint8)
