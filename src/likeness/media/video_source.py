"""Facts about a video stream: size, clock, orientation, colour, and what the result does not keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.sidedata.sidedata import Type as SideData
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from likeness.errors import InputError
from likeness.media.files import require_file
from likeness.media.video_colour import Colour, chroma_sampling, colour_of, has_alpha
from likeness.types import MediaInfo, Pixels, TimeRange

_SHORT_FORMATS = {"mov,mp4,m4a,3gp,3g2,mj2": "mp4", "matroska,webm": "mkv", "mpegts": "ts"}
_HDR_TRANSFERS = {16: "PQ", 18: "HLG"}
_UPRIGHT = (1, 0, 0, 1)
_TURNS = (_UPRIGHT, (0, -1, 1, 0), (-1, 0, 0, -1), (0, 1, -1, 0))  # by 0, 90 ... degrees counter-clockwise
_NTSC = Fraction(30000, 1001)
# FFmpeg's own decoders of VP8 and VP9 drop the alpha that WebM stores beside each packet.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
INTERLACED = "interlaced: deinterlaced before restoring (FFmpeg's bwdif), one frame for each frame"
# What decoders attach to a frame and encoders do not take.
_HDR_DETAILS = "HDR metadata (mastering display, light levels, dynamic) is not kept"
_LOST = {
    SideData.A53_CC: "closed captions within the pictures are not kept",
    SideData.STEREO3D: "the mark of 3D pictures is not kept; choose 3D in the player",
    SideData.SPHERICAL: "the mark of a 360-degree video is not kept; choose 360 degrees in the player",
    SideData.MASTERING_DISPLAY_METADATA: _HDR_DETAILS,
    SideData.CONTENT_LIGHT_LEVEL: _HDR_DETAILS,
    SideData.DYNAMIC_HDR_PLUS: _HDR_DETAILS,
    SideData.DOVI_METADATA: _HDR_DETAILS,
}
Decode = Callable[["Packet[VideoStream]"], list[av.VideoFrame]]


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
        alpha: its pixels may be transparent.
        sampling: "RGB", "4:2:2" ... where it is neither 4:2:0 nor grey.
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
    alpha: bool = False
    sampling: str = ""
    notes: tuple[str, ...] = ()


@contextmanager
def open_video(path: Path) -> Iterator[InputContainer]:
    """Opens a container for reading; what PyAV cannot read becomes InputError."""
    try:
        container = av.open(str(path), "r", options={"export_xmp": "1"}, metadata_errors="replace")
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
    held = ["a cover picture" if s.type == "video" else s.type for s in container.streams]
    raise InputError(f"{path}: has no moving pictures, only {', '.join(held) or 'an empty container'}; give a video")


def decoder_of(stream: VideoStream) -> Decode:
    """Decodes the packets of a stream, its alpha included."""
    name = _ALPHA_DECODERS.get(stream.codec_context.name)
    tags = {key.lower(): value for key, value in stream.metadata.items()}
    if name is None or tags.get("alpha_mode") != "1" or name not in av.codecs_available:
        stream.thread_type = "AUTO"
        return lambda packet: packet.decode()
    context = cast(VideoCodecContext, av.CodecContext.create(name, "r"))
    context.extradata = stream.codec_context.extradata
    return lambda packet: context.decode(packet if packet.size else None)


def _first_frame(container: InputContainer, stream: VideoStream, path: Path) -> av.VideoFrame:
    if stream.codec_context is None:
        raise InputError(f"{path}: its video codec is unknown to FFmpeg; convert it to H.264 in MP4")
    error: Exception | None = None
    decode = decoder_of(stream)
    for packet in container.demux(stream):
        try:
            for frame in decode(packet):
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
    matrix = display_matrix(first)
    turned = matrix[0] == 0
    width, height = (first.height, first.width) if turned else (first.width, first.height)
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    duration: Fraction | None = None
    if stream.duration is not None and stream.time_base is not None:
        duration = stream.duration * stream.time_base
    elif container.duration is not None:
        duration = Fraction(container.duration, av.time_base)
    begin = (first.pts or 0) * (first.time_base or Fraction(0))
    frames = stream.frames or None
    if frames and duration is not None and (duration - max(begin, Fraction(0))) * rate < frames - Fraction(1, 2):
        frames = None  # an edit list hides some
    name = path.suffix[1:].lower() if path.suffix.lower() in (".mov", ".m4v", ".webm", ".3gp") else ""
    info = MediaInfo(
        "video",
        width,
        height,
        frames=frames,
        fps=rate,
        duration=duration,
        format=name or _SHORT_FORMATS.get(container.format.name, container.format.name),
        codec=stream.codec_context.codec.canonical_name,
        audio=tuple(
            audio.codec_context.codec.canonical_name for audio in container.streams.audio if audio.codec_context
        ),
    )
    alpha, depth = has_alpha(first), max(component.bits for component in first.format.components)
    notes = _notes(first, depth, rate)
    aspect = stream.sample_aspect_ratio or None
    return VideoSource(
        path,
        info,
        stream.index,
        stream.time_base or Fraction(1, 90000),
        rate,
        colour_of(first, stream.codec_context.name, path),
        matrix,
        1 / aspect if aspect and turned else aspect,
        begin,
        deep=depth > 8,
        alpha=alpha,
        sampling=chroma_sampling(first),
        notes=tuple(notes),
    )


def _notes(first: av.VideoFrame, depth: int, rate: Fraction) -> list[str]:
    """What the result does not keep of the pictures."""
    notes = []
    if depth > 10:
        notes.append(f"{depth}-bit colour becomes 10-bit")
    if first.color_trc in _HDR_TRANSFERS:
        notes.append(f"HDR ({_HDR_TRANSFERS[first.color_trc]}) is not tone-mapped, its tags are kept")
    notes += dict.fromkeys(note for kind, note in _LOST.items() if kind in (_side_data(first) or ()))
    if first.interlaced_frame:
        notes.append(INTERLACED)
    if first.interlaced_frame and rate == _NTSC:
        notes.append(
            "29.97 interlaced frames a second may be film (telecine), whose repeated fields stay; "
            "FFmpeg's filters fieldmatch,decimate give its 24 frames back beforehand"
        )
    return notes


def display_matrix(frame: av.VideoFrame) -> tuple[int, int, int, int]:
    """The (a, b, c, d) of a frame's display matrix, rounded to turns by 90 degrees and mirrorings.

    A stored pixel (x, y) is shown at (a x + c y, b x + d y), ISO/IEC 14496-12, 6.2.2.
    """
    attached = _side_data(frame)
    if attached is None:
        return _TURNS[frame.rotation % 360 // 90]
    if SideData.DISPLAYMATRIX not in attached:
        return _UPRIGHT
    values = np.frombuffer(bytes(attached[SideData.DISPLAYMATRIX]), np.int32).astype(np.int64)
    a, b, c, d = (int(values[i]) for i in (0, 1, 3, 4))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return (-1 if a < 0 else 1, 0, 0, -1 if d < 0 else 1)
    return (0, -1 if b < 0 else 1, -1 if c < 0 else 1, 0)


def _side_data(frame: av.VideoFrame) -> Any:  # PyAV's stubs know only part of what it holds
    """What the decoder attached; None where a type is unknown to PyAV, which then tells the turn alone."""
    try:
        return frame.side_data
    except ValueError:
        return None


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
