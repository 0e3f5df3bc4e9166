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
# Transparent clips: VP9 with alpha beside each packet, for WebM and Matroska; ProRes 4444 for QuickTime.
_VP9_ALPHA = ("libvpx-vp9", {**_VP9[1], "auto-alt-ref": "0"})  # libvpx refuses alpha with alternate references
_PRORES = ("prores_ks", {"profile": "4444", "alpha_bits": "16"})
_TRANSPARENT = {".webm": _VP9_ALPHA, ".mkv": _VP9_ALPHA, ".mov": _PRORES}
_PIXELS = {"prores_ks": "yuva444p10le", "libvpx-vp9": "yuva420p"}  # of transparent clips
# Presets of x264 and cpu-used of VP9: how long the encoder searches, at the same crf.
EFFORTS = {"fast": ("veryfast", "8"), "medium": ("medium", "4"), "slow": ("slow", "2")}


class EncodedPacket(NamedTuple):
    """One encoded frame; times in ticks of the source's clock, not shifted."""

    data: bytes
    pts: int
    dts: int
    duration: int
    key: bool


def holds_alpha(source: VideoSource, suffix: str) -> bool:
    """Whether a transparent source stays transparent in a container with this suffix."""
    codec = _TRANSPARENT.get(suffix.lower())
    return source.alpha and codec is not None and codec[0] in av.codecs_available


def codec_of(source: VideoSource, suffix: str, effort: str = "medium") -> tuple[str, dict[str, str]]:
    """The encoder of a container and its options; `effort` is one of `EFFORTS`."""
    preset, cpu_used = EFFORTS[effort]
    if holds_alpha(source, suffix):
        codec, options = _TRANSPARENT[suffix.lower()]
    else:
        codec, options = _VP9 if suffix.lower() == ".webm" else _H264
    if codec == _PRORES[0]:
        return codec, dict(options)
    search = {"preset": preset} if codec == _H264[0] else {"cpu-used": cpu_used}
    # PyAV has no attribute for it; without a tag players assume "left".
    location = {"chroma_sample_location": source.colour.chroma} if source.colour.chroma else {}
    return codec, {**options, **search, **location}


def configure(context: VideoCodecContext, source: VideoSource, codec: str, suffix: str, size: tuple[int, int]) -> str:
    """Sets up an encoder for results of `size` (height, width); returns its pixel format."""
    height, width = size
    pixels = "yuv420p10le" if source.deep and codec == _H264[0] else "yuv420p"
    if holds_alpha(source, suffix):
        pixels = _PIXELS[codec]
    context.width, context.height, context.pix_fmt = width + width % 2, height + height % 2, pixels
    context.time_base = source.time_base
    context.flags |= Flags.frame_duration
    context.colorspace, context.color_range = source.colour.matrix, source.colour.range
    context.color_primaries, context.color_trc = source.colour.primaries, source.colour.transfer
    if source.pixel_aspect is not None:
        context.sample_aspect_ratio = source.pixel_aspect
    return pixels


def conversions(source: VideoSource, suffix: str, codec: str, pixels: str) -> list[str]:
    """For a person: what becomes of the source's codec, depth, colour sampling and transparency."""
    notes, written = [], av.Codec(codec, "w").canonical_name
    if source.info.codec != written:
        notes.append(f"pictures: {source.info.codec} became {written}")
    if source.deep and pixels == "yuv420p10le":
        notes.append("10-bit colour stays: some browsers do not play 10-bit H.264")
    elif source.deep and "10" not in pixels:
        notes.append("10-bit colour becomes 8-bit, as VP9 is written here")
    if source.sampling and "420" in pixels:
        notes.append(f"{source.sampling} colour becomes 4:2:0, which every player shows")
    if source.alpha and not holds_alpha(source, suffix):
        notes.append(f"transparency is lost: {suffix} holds none; convert the input to WebM (VP9) or MOV (ProRes 4444)")
    elif pixels == "yuva444p10le":
        notes.append("transparency stays: written as ProRes 4444")
    elif source.alpha:
        notes.append("transparency stays: written as VP9 with alpha")
    return notes


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
    alpha = None if frame.alpha is None or "yuva" not in pixels else _pad_to_even(frame.alpha)
    picture = source.colour.from_rgb(_pad_to_even(frame.pixels), pixels, alpha)
    picture.time_base = source.time_base
    picture.pts = int((frame.time - shift) / source.time_base)
    if frame.duration is not None:
        picture.duration = round(frame.duration / source.time_base)
    return picture


def _pad_to_even(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return pixels
    return np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0))[: pixels.ndim], mode="edge")
