"""Facts about a video stream (size, clock, orientation, colour tags), and its conversion to RGB and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import Type as SideData
from av.stream import Disposition
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream

from likeness.errors import InputError
from likeness.media.files import require_file
from likeness.types import MediaInfo, Pixels, TimeRange

UNTAGGED = 2  # "unspecified" in every table of ISO/IEC 23091-2
LIMITED, FULL = 1, 2  # FFmpeg's colour ranges, 0 = not said
# Matrix coefficients (ISO/IEC 23091-2, table 4) that swscale converts, by the number it gives them.
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
_RGB = 0
_HDR_TRANSFERS = {16: "PQ", 18: "HLG"}
# Bicubic, chroma at full resolution, rounded: a flat patch comes back within two levels.
_FULL_CHROMA = Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
_EXACT = Interpolation.BICUBIC | _FULL_CHROMA | Interpolation.ACCURATE_RND
_SHORT_FORMATS = {"mov,mp4,m4a,3gp,3g2,mj2": "mp4", "matroska,webm": "mkv", "mpegts": "ts"}
_UPRIGHT = (1, 0, 0, 1)


@dataclass(frozen=True, slots=True)
class Colour:
    """How a stream's YUV values mean colours.

    Attributes:
        matrix: matrix coefficients, 1 = BT.709, 5 and 6 = BT.601, 9 = BT.2020.
        range: 1 = 16..235, 2 = 0..255.
        primaries, transfer: carried along, not converted; 2 = not said.
    """

    matrix: int
    range: int
    primaries: int = UNTAGGED
    transfer: int = UNTAGGED

    def to_rgb(self, frame: av.VideoFrame, deep: bool = False) -> Pixels:
        """HWC RGB of a decoded frame: uint8, or uint16 over its whole range if `deep`."""
        planar = frame.format.is_rgb
        rgb = frame.reformat(
            format="rgb48le" if deep else "rgb24",
            src_colorspace=None if planar else _MATRICES[self.matrix],
            src_color_range=None if planar else self.range,
            dst_color_range=FULL,
            interpolation=_EXACT,
        )
        return rgb.to_ndarray()

    def from_rgb(self, pixels: Pixels, format: str = "yuv420p") -> av.VideoFrame:
        """A frame in `format` (yuv420p or yuv420p10le) of HWC RGB `pixels` (even sizes), the inverse of `to_rgb`."""
        rgb = "rgb48le" if pixels.dtype == np.uint16 else "rgb24"
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), rgb).reformat(
            format=format,
            src_color_range=FULL,
            dst_colorspace=_MATRICES[self.matrix],
            dst_color_range=self.range,
            interpolation=_EXACT,
        )
        frame.colorspace, frame.color_primaries, frame.color_trc = self.matrix, self.primaries, self.transfer
        return frame


@dataclass(frozen=True, slots=True)
class VideoSource:
    """What reading and writing need to know of a video file.

    Attributes:
        path: the file.
        info: for people and the report; the size is that of the upright frames.
        stream: index of the picture stream.
        time_base: seconds of one tick of its clock.
        rate: average frames a second.
        colour: as tagged, or as players assume it.
        matrix: (a, b, c, d) of the display matrix, each -1, 0 or 1.
        pixel_aspect: width / height of one upright pixel; None where not said.
        begin: time of the first frame; clips need not start at 0.
        time_range: what is read of it; None = all.
        deep: its colours have more than 8 bits; frames are then uint16.
        notes: for a person, what is not kept.
    """

    path: Path
    info: MediaInfo
    stream: int
    time_base: Fraction
    rate: Fraction
    colour: Colour
    matrix: tuple[int, int, int, int] = _UPRIGHT
    pixel_aspect: Fraction | None = None
    begin: Fraction = Fraction(0)
    time_range: TimeRange | None = None
    deep: bool = False
    notes: tuple[str, ...] = ()


@contextmanager
def open_video(path: Path) -> Iterator[InputContainer]:
    """Opens a container for reading; what PyAV cannot read becomes InputError."""
    try:
        container = av.open(str(path), "r", metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be opened as a video ({error}); convert it to MP4 or get it again") from error
    with container:
        yield container


def probe(path: str | Path, time_range: TimeRange | None = None) -> VideoSource:
    """Reads the headers and the first frame of a video.

    Raises:
        InputError: no file, no video, no picture stream, or no frame that can be decoded.
    """
    path = Path(path)
    require_file(path)
    with open_video(path) as container:
        stream = picture_stream(container, path)
        first = _first_frame(container, stream, path)
        source = _describe(path, container, stream, first)
    return source if time_range is None else _restrict(source, time_range)


def picture_stream(container: InputContainer, path: Path) -> VideoStream:
    """The first stream of moving pictures, cover art left aside."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    raise InputError(f"{path}: has no picture stream, only {[s.type for s in container.streams]}; give a video")


def _first_frame(container: InputContainer, stream: VideoStream, path: Path) -> av.VideoFrame:
    if stream.codec_context is None:
        raise InputError(f"{path}: its video codec is unknown to FFmpeg; convert it to H.264 in MP4")
    error: Exception | None = None
    for packet in container.demux(stream):
        try:
            for frame in packet.decode():
                return frame
        except av.FFmpegError as caught:  # a stream may begin in the middle of a group of pictures
            error = caught
    raise InputError(f"{path}: not one frame can be decoded ({error or 'no packets'}); get or export it again")


def _restrict(source: VideoSource, time_range: TimeRange) -> VideoSource:
    """The source with the length and number of frames of a time range, as far as the headers tell."""
    whole = source.info.duration
    if whole is not None and time_range.start >= whole:
        raise InputError(
            f"{source.path}: is {float(whole):.2f} s long, start={float(time_range.start):g} lies beyond its end"
        )
    ends = [end for end in (time_range.end, whole) if end is not None]
    length = min(ends) - time_range.start if ends else None
    return replace(source, time_range=time_range, info=replace(source.info, duration=length, frames=None))


def _describe(path: Path, container: InputContainer, stream: VideoStream, first: av.VideoFrame) -> VideoSource:
    notes: list[str] = []
    matrix = display_matrix(first)
    turned = matrix[0] == 0
    width, height = (first.height, first.width) if turned else (first.width, first.height)
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    duration: Fraction | None = None
    if stream.duration is not None and stream.time_base is not None:
        duration = stream.duration * stream.time_base
    elif container.duration is not None:
        duration = Fraction(container.duration, av.time_base)
    name = path.suffix[1:].lower() if path.suffix.lower() in (".mov", ".m4v", ".webm", ".3gp") else ""
    info = MediaInfo(
        "video",
        width,
        height,
        frames=stream.frames or None,
        fps=rate,
        duration=duration,
        format=name or _SHORT_FORMATS.get(container.format.name, container.format.name),
        codec=stream.codec_context.codec.canonical_name,
        audio=tuple(
            audio.codec_context.codec.canonical_name for audio in container.streams.audio if audio.codec_context
        ),
    )
    depth = max(component.bits for component in first.format.components)
    if depth > 10:
        notes.append(f"{depth}-bit colour becomes 10-bit")
    if first.color_trc in _HDR_TRANSFERS:
        notes.append(f"HDR ({_HDR_TRANSFERS[first.color_trc]}) is not tone-mapped, its tags are kept")
    if first.interlaced_frame:
        notes.append("interlaced pictures are handled as whole frames")
    aspect = stream.sample_aspect_ratio or None
    return VideoSource(
        path,
        info,
        stream.index,
        stream.time_base or Fraction(1, 90000),
        rate,
        colour_of(first, path),
        matrix,
        1 / aspect if aspect and turned else aspect,
        (first.pts or 0) * (first.time_base or Fraction(0)),
        deep=depth > 8,
        notes=tuple(notes),
    )


def colour_of(frame: av.VideoFrame, path: Path) -> Colour:
    """The colour tags of a frame; an untagged matrix is BT.709 from 1280 columns or 577 rows on, else BT.601.

    That is the rule of players such as mpv; an untagged range is 16..235, except for the "yuvj" formats.

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
    return Colour(matrix, FULL if full else LIMITED, int(frame.color_primaries), int(frame.color_trc))


def display_matrix(frame: av.VideoFrame) -> tuple[int, int, int, int]:
    """The (a, b, c, d) of a frame's display matrix, rounded to turns by 90 degrees and mirrorings.

    A stored pixel (x, y) is shown at (a x + c y, b x + d y), ISO/IEC 14496-12, 6.2.2.
    """
    attached: Any = frame.side_data  # PyAV's stubs know only part of what it holds
    if SideData.DISPLAYMATRIX not in attached:
        return _UPRIGHT
    values = np.frombuffer(bytes(attached[SideData.DISPLAYMATRIX]), np.int32).astype(np.int64)
    a, b, c, d = (int(values[i]) for i in (0, 1, 3, 4))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return (-1 if a < 0 else 1, 0, 0, -1 if d < 0 else 1)
    return (0, -1 if b < 0 else 1, -1 if c < 0 else 1, 0)


def apply_matrix(pixels: Pixels, matrix: tuple[int, int, int, int]) -> Pixels:
    """Turns HWC pixels upright by (a, b, c, d) of `display_matrix`."""
    a, b, c, d = matrix
    if a == 0:
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    if a < 0:
        pixels = pixels[:, ::-1]
    if d < 0:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
