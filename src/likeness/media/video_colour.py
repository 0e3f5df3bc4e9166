"""Colours of a video: what its YUV values mean, where its chroma samples lie, and the conversion to RGB and back."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.filter import Graph
from av.video.reformatter import Interpolation

from likeness.errors import InputError
from likeness.types import Pixels

UNTAGGED = 2  # "unspecified" in every table of ISO/IEC 23091-2
LIMITED, FULL = 1, 2  # FFmpeg's colour ranges, 0 = not said
# Matrix coefficients (ISO/IEC 23091-2, table 4) that swscale converts, by the number it gives them.
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
_RGB = 0
# Bicubic, chroma at full resolution, rounded: a flat patch comes back within two levels.
_FULL_CHROMA = Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
_EXACT = Interpolation.BICUBIC | _FULL_CHROMA | Interpolation.ACCURATE_RND
_FINE = "yuv420p14le"
_BITS = {"yuv420p": 8, "yuv420p10le": 10}
# FFmpeg's names of the chroma locations (ISO/IEC 23091-2, figure 1), the usual one first.
CHROMA_LOCATIONS = ("left", "center", "topleft", "top", "bottomleft", "bottom")
_USUAL = CHROMA_LOCATIONS[0]
# Decoders that know a location for every stream. "center" from any other one means that the stream does not say.
_LOCATING = frozenset({"h264", "hevc", "mpeg1video", "mpeg2video", "mjpeg", "h263"})


@dataclass(frozen=True, slots=True)
class Colour:
    """How a stream's YUV values mean colours.

    Attributes:
        matrix: matrix coefficients, 1 = BT.709, 5 and 6 = BT.601, 9 = BT.2020.
        range: 1 = 16..235, 2 = 0..255.
        primaries, transfer: carried along, not converted; 2 = not said.
        chroma: one of `CHROMA_LOCATIONS`; None = not said, which players take for "left".
    """

    matrix: int
    range: int
    primaries: int = UNTAGGED
    transfer: int = UNTAGGED
    chroma: str | None = None

    def to_rgb(self, frame: av.VideoFrame, deep: bool = False, alpha: bool = False) -> Pixels:
        """HWC RGB of a decoded frame, with `alpha` RGBA: uint8, or uint16 over its whole range if `deep`."""
        planar = frame.format.is_rgb
        rgb = _tagged(frame, f"chroma_location={self.chroma or _USUAL}").reformat(
            format=_packed(deep, alpha),
            src_colorspace=None if planar else _MATRICES[self.matrix],
            src_color_range=None if planar else self.range,
            dst_color_range=FULL,
            interpolation=_EXACT,
        )
        return rgb.to_ndarray()

    def from_rgb(self, pixels: Pixels, format: str = "yuv420p", alpha: Pixels | None = None) -> av.VideoFrame:
        """A frame in the YUV `format` of HWC RGB `pixels` and HW `alpha` (even sizes), the inverse of `to_rgb`."""
        if alpha is not None:
            pixels = np.dstack([pixels, alpha])
        packed = _packed(pixels.dtype == np.uint16, alpha is not None)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), packed)
        # `reformat` takes the location of its result from the frame it is given.
        frame = _tagged(frame, f"chroma_location={self.chroma or _USUAL}")
        expanded = self.range == FULL and format in _BITS
        frame = frame.reformat(
            format=_FINE if expanded else format,
            src_color_range=FULL,
            dst_colorspace=_MATRICES[self.matrix],
            dst_color_range=LIMITED if expanded else self.range,
            interpolation=_EXACT,
        )
        if expanded:
            frame = _full_range(frame, format)
        frame.colorspace, frame.color_primaries, frame.color_trc = self.matrix, self.primaries, self.transfer
        return frame


def colour_of(frame: av.VideoFrame, codec: str, path: Path) -> Colour:
    """The colour tags of a frame; an untagged matrix is BT.709 from 1280 columns or 577 rows on, else BT.601.

    That is the rule of players such as mpv; an untagged range is 16..235, except for the "yuvj" formats.

    Args:
        frame: decoded; its pixels are overwritten.
        codec: its name.
        path: for messages.

    Raises:
        InputError: a matrix that cannot be converted (YCgCo, ICtCp ...).
    """
    matrix = int(frame.colorspace)
    if matrix == UNTAGGED or (matrix == _RGB and not frame.format.name.startswith("yuv")):
        matrix = 1 if frame.width >= 1280 or frame.height > 576 else 6
    if matrix not in _MATRICES:
        raise InputError(
            f"{path}: has colour matrix {matrix}, expected one of {sorted(_MATRICES)} "
            "(ISO/IEC 23091-2, table 4); convert it to BT.709"
        )
    full = int(frame.color_range) == FULL or frame.format.name.startswith("yuvj")
    colour = Colour(
        matrix,
        FULL if full and not frame.format.is_rgb else LIMITED,
        int(frame.color_primaries),
        int(frame.color_trc),
        _chroma_location(frame),
    )
    if colour.chroma == "center" and codec not in _LOCATING:
        return Colour(colour.matrix, colour.range, colour.primaries, colour.transfer)
    return colour


def chroma_sampling(frame: av.VideoFrame) -> str:
    """What the frame's colours are, such as "4:2:2" or "RGB", where that is neither 4:2:0 nor grey; else empty."""
    if frame.format.is_rgb:
        return "RGB"
    components = [c for c in frame.format.components if not c.is_alpha]
    if len(components) < 3:
        return ""
    shape = frame.width / components[1].width, frame.height / components[1].height
    names = {(1, 1): "4:4:4", (2, 1): "4:2:2", (1, 2): "4:4:0", (4, 1): "4:1:1", (4, 4): "4:1:0"}
    return names.get((round(shape[0]), round(shape[1])), "")


def is_subsampled(frame: av.VideoFrame) -> bool:
    """Whether the frame has fewer chroma samples than pixels."""
    components = frame.format.components
    return any(c.width < frame.width or c.height < frame.height for c in components)


def has_alpha(frame: av.VideoFrame) -> bool:
    """Whether the frame may have transparent pixels."""
    return frame.format.name != "pal8" and any(c.is_alpha for c in frame.format.components)


def _chroma_location(frame: av.VideoFrame) -> str | None:
    """Where the frame's chroma samples lie; the frame's pixels are overwritten.

    PyAV does not tell, but swscale follows the frame's location. The location is the one whose tag leaves the
    conversion of arbitrary pixels as it is. swscale treats a frame without a location as "center".
    """
    if not is_subsampled(frame):
        return None
    frame.make_writable()
    rng = np.random.default_rng(0)
    for plane in frame.planes:
        plane.update(rng.integers(0, 256, plane.buffer_size, np.uint8).tobytes())

    def converted(location: str) -> Pixels:
        # Fields have other locations than frames; interlaced pictures are converted as frames later.
        tagged = _tagged(frame, f"field_mode=prog:chroma_location={location}")
        return tagged.reformat(format="rgb24", interpolation=_EXACT).to_ndarray()

    own = converted("auto")
    return next((name for name in CHROMA_LOCATIONS if np.array_equal(converted(name), own)), None)


def _tagged(frame: av.VideoFrame, tags: str) -> av.VideoFrame:
    """The same picture, not copied, with other tags (options of FFmpeg's filter setparams)."""
    graph = Graph()
    graph.threads = 1
    clock = frame.time_base or Fraction(1, 90000)
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=clock)
    graph.link_nodes(source, graph.add("setparams", tags), graph.add("buffersink")).configure()
    graph.push(frame)
    return graph.vpull()


def _full_range(frame: av.VideoFrame, format: str) -> av.VideoFrame:
    """A full-range frame of a limited one in `_FINE`, rounded: swscale truncates, which shifts every colour.

    Levels by ITU-T H.273, equations 20 to 25.
    """
    bits = _BITS[format]
    peak, levels = 2**bits - 1, np.arange(2**14) / 2**6
    luma, chroma = (levels - 16) / 219 * peak, (levels - 128) / 224 * peak + 2 ** (bits - 1)
    kind: type[np.unsignedinteger[Any]] = np.uint8 if bits == 8 else np.uint16
    result = av.VideoFrame(frame.width, frame.height, format)
    for i, (plane, fine) in enumerate(zip(result.planes, frame.planes, strict=True)):
        table = np.rint(np.clip(chroma if i else luma, 0, peak)).astype(kind)
        values = np.frombuffer(bytes(fine), np.uint16).reshape(fine.height, -1)[:, : fine.width]
        rows = np.zeros((plane.height, plane.line_size // np.dtype(kind).itemsize), kind)
        rows[:, : plane.width] = table[values]
        plane.update(rows.tobytes())
    result.color_range = FULL
    return result


def _packed(deep: bool, alpha: bool) -> str:
    return ("rgba64le" if alpha else "rgb48le") if deep else ("rgba" if alpha else "rgb24")
