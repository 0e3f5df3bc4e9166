"""How the pictures of a video are encoded: codecs and their options, checks of frames, conversion of frames."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext

from likeness.errors import InputError
from likeness.media.video_source import VideoSource
from likeness.types import Frame, Pixels

# With its macroblock tree x264 encodes the same frames differently about every fortieth time (seen on AMD EPYC, also
# with one thread). Without it the same input gives the same file, so that a resumed video equals an uninterrupted one.
REPEATABLE = {"x264-params": "mbtree=0"}
_H264 = ("libx264", {"crf": "17", **REPEATABLE})
_VP9 = ("libvpx-vp9", {"crf": "20", "b": "0", "deadline": "good", "row-mt": "1"})
# Presets of x264 and cpu-used of VP9: how long the encoder searches, at the same crf.
EFFORTS = {"fast": ("veryfast", "8"), "medium": ("medium", "4"), "slow": ("slow", "2")}


class EncodedPacket(NamedTuple):
    """One encoded frame; times in ticks of the source's clock, not shifted."""

    data: bytes
    pts: int
    dts: int
    duration: int
    key: bool


def codec_of(suffix: str, effort: str = "medium") -> tuple[str, dict[str, str]]:
    """The encoder of a container and its options; `effort` is one of `EFFORTS`."""
    preset, cpu_used = EFFORTS[effort]
    if suffix.lower() == ".webm":
        return _VP9[0], {**_VP9[1], "cpu-used": cpu_used}
    return _H264[0], {**_H264[1], "preset": preset}


def configure(context: VideoCodecContext, source: VideoSource, codec: str, width: int, height: int) -> str:
    """Sets up an encoder for the results of a source; returns its pixel format."""
    pixels = "yuv420p10le" if source.deep and codec == _H264[0] else "yuv420p"
    context.width, context.height, context.pix_fmt = width + width % 2, height + height % 2, pixels
    context.time_base = source.time_base
    context.flags |= Flags.frame_duration
    context.colorspace, context.color_range = source.colour.matrix, source.colour.range
    context.color_primaries, context.color_trc = source.colour.primaries, source.colour.transfer
    if source.pixel_aspect is not None:
        context.sample_aspect_ratio = source.pixel_aspect
    return pixels


def check_frame(frame: Frame, source: VideoSource, size: tuple[int, int], last: Fraction | None) -> Fraction:
    """Checks that a frame can be written after the one at time `last`; returns its time.

    Raises:
        InputError: for another size or depth, or a time off the source's clock or out of order.
    """
    depth = np.dtype(np.uint16 if source.deep else np.uint8)
    if frame.pixels.shape[:2] != size or frame.pixels.dtype != depth:
        raise InputError(
            f"frame {frame.index}: got {frame.pixels.shape} {frame.pixels.dtype}, expected {(*size, 3)} "
            f"{depth}; give the writer the size of the results and the source's depth"
        )
    if (frame.time / source.time_base).denominator != 1:
        raise InputError(
            f"frame {frame.index}: its time {frame.time} is no multiple of the source's clock, "
            f"{source.time_base}; keep the times that the reader gave"
        )
    if last is not None and frame.time <= last:
        raise InputError(f"frame {frame.index}: its time {frame.time} is not after {last}; write in order")
    return frame.time


def picture_of(frame: Frame, source: VideoSource, pixels: str, shift: Fraction = Fraction(0)) -> av.VideoFrame:
    """A frame as an encoder takes it, `shift` seconds earlier."""
    picture = source.colour.from_rgb(_pad_to_even(frame.pixels), pixels)
    picture.time_base = source.time_base
    picture.pts = int((frame.time - shift) / source.time_base)
    if frame.duration is not None:
        picture.duration = round(frame.duration / source.time_base)
    return picture


def _pad_to_even(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return pixels
    return np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
