"""What video and GIF files do to a single picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import islice

import av
import numpy as np
from PIL import Image

from likeness.media.video import REPEATABLE
from likeness.types import Pixels


def h264_still(image: Pixels, crf: int) -> Pixels:
    """One H.264 intra frame there and back: HWC uint8, `crf` 0 (good) to 51 (poor)."""
    return h264_frame([image], 0, crf)


def h264_frame(frames: Sequence[Pixels], which: int, crf: int) -> Pixels:
    """Frame `which` of a short H.264 film, there and back: mostly predicted from its neighbours, as most frames are.

    Args:
        frames: HWC uint8 of one size; where a side is odd, its last row or column is doubled for the encoder.
        which: 0-based.
        crf: 0 (good) to 51 (poor).
    """
    height, width = frames[0].shape[:2]
    padding = ((0, height % 2), (0, width % 2), (0, 0))
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as out:
        options = {"crf": str(crf), "preset": "veryfast", **REPEATABLE}
        stream = out.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        stream.thread_count = 1
        for frame in frames:
            whole = np.ascontiguousarray(np.pad(frame, padding, "edge"))
            out.mux(stream.encode(av.VideoFrame.from_ndarray(whole, format="rgb24")))
        out.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer, "r") as source:
        found = next(islice(source.decode(video=0), which, None)).to_ndarray(format="rgb24")
    return np.asarray(found[:height, :width])


def palette(image: Pixels, colours: int) -> Pixels:
    """A GIF's palette of `colours` (2-256) with Floyd-Steinberg dither: HWC uint8."""
    picture = Image.fromarray(image)
    table = picture.quantize(colours, method=Image.Quantize.MEDIANCUT)
    return np.asarray(picture.quantize(colours, palette=table, dither=Image.Dither.FLOYDSTEINBERG).convert("RGB"))
