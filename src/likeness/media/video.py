"""Videos: upright RGB frames with exact times in, H.264 (or VP9) with the untouched sound out."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, cast

import av
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from likeness.errors import InputError, OutputError
from likeness.log import get_logger
from likeness.media.video_remux import Remux
from likeness.media.video_source import VideoSource, apply_matrix, open_video, picture_stream, probe
from likeness.types import Frame, MediaInfo, Part, Pixels

_log = get_logger(__name__)

_SUFFIXES = {".mp4": ".mp4", ".m4v": ".mp4", ".mov": ".mov", ".mkv": ".mkv", ".webm": ".webm"}
_MILLISECOND_SUFFIXES = (".mkv", ".webm")
# With its macroblock tree x264 encodes the same pictures differently every fortieth time or so (seen on AMD EPYC, with
# one thread, too); without, the same input gives the same file, and a resumed video is the uninterrupted one.
REPEATABLE = {"x264-params": "mbtree=0"}
_H264 = ("libx264", {"crf": "17", **REPEATABLE})
_VP9 = ("libvpx-vp9", {"crf": "20", "b": "0", "deadline": "good", "row-mt": "1"})
# Presets of x264 and cpu-used of VP9: how long they search, at the same crf.
EFFORTS = {"fast": ("veryfast", "8"), "medium": ("medium", "4"), "slow": ("slow", "2")}


def output_suffix(path: str | Path) -> str:
    """The container in which a result is written: MP4, MOV, MKV and WebM stay, anything else becomes MKV."""
    return _SUFFIXES.get(Path(path).suffix.lower(), ".mkv")


class VideoReader:
    """The frames of a video, upright, in order of presentation; may be iterated more than once.

    Each `Frame` is HWC RGB, uint8 or, of sources with 10 bits, uint16, with `time` = its exact time stamp x clock
    and `duration` = the time to the next frame (for the last one what the stream says, or None).
    Memory does not grow with the length.

    Attributes:
        source: everything known of the file.
        notes: for a person, filled while iterating: damaged packets, missing or unordered time stamps.

    Args:
        path: the file.
        part: read only these frames, with the times that they have in the whole.

    Raises:
        InputError: the file is missing, damaged or no video (at once), or breaks off (while iterating).
    """

    def __init__(self, path: str | Path, part: Part | None = None) -> None:
        self.source: VideoSource = probe(path, part)
        self.notes: list[str] = list(self.source.notes)
        self._running: list[Generator[Frame]] = []

    @property
    def info(self) -> MediaInfo:
        """Size, rate, length and codecs."""
        return self.source.info

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for frames in self._running:
            frames.close()
        self._running.clear()

    def __iter__(self) -> Iterator[Frame]:
        frames = self._frames()
        self._running.append(frames)
        return frames

    def _frames(self) -> Generator[Frame]:
        index = 0
        waiting: tuple[av.VideoFrame, Fraction] | None = None
        first, last = self._bounds()
        with closing(self._timed(first)) as pictures:
            for picture, time in pictures:
                if time < first:
                    continue
                if last is not None and time >= last:
                    if waiting is not None:
                        yield self._frame(*waiting, index, time - waiting[1])
                    return
                if waiting is not None:
                    # How long a frame is shown is known from the next one: what containers store beside a
                    # frame follows the order of decoding.
                    yield self._frame(*waiting, index, time - waiting[1])
                    index += 1
                waiting = picture, time
        if waiting is not None:
            picture = waiting[0]
            tick = picture.time_base or self.source.time_base
            yield self._frame(*waiting, index, picture.duration * tick if picture.duration else None)
            index += 1
        if self.info.frames is not None and index < self.info.frames:
            self._say(self.info.frames - index, "of the promised frames are missing: the file breaks off or is damaged")

    def _bounds(self) -> tuple[Fraction, Fraction | None]:
        """Times from which and before which frames are wanted."""
        part, begin = self.source.part, self.source.begin
        if part is None:
            return min(begin, Fraction(0)) - 1, None  # streams may begin below 0
        return begin + part.start, None if part.end is None else begin + part.end

    def _timed(self, first: Fraction) -> Generator[tuple[av.VideoFrame, Fraction]]:
        """Decoded pictures with their times, which always grow; from a key frame at or before `first`."""
        if self.source.part is not None and self.source.part.start > 0:
            with closing(self._decoded(first)) as pictures:
                opening = next(pictures, None)
                if opening is not None and opening[1] <= first:
                    yield opening
                    yield from pictures
                    return
        # Not every container finds its way: then everything before is decoded and dropped.
        yield from self._decoded(None)

    def _decoded(self, seek: Fraction | None) -> Generator[tuple[av.VideoFrame, Fraction]]:
        source, tick = self.source, self.source.time_base
        last: Fraction | None = None
        damaged = guessed = 0
        with open_video(source.path) as container:
            stream = picture_stream(container, source.path)
            stream.thread_type = "AUTO"
            if seek is not None:
                try:
                    container.seek(int(seek / tick), stream=stream)
                except av.FFmpegError:
                    return
            for packet in container.demux(stream):
                try:
                    decoded = packet.decode()
                except av.FFmpegError:
                    damaged += 1
                    continue
                for picture in decoded:
                    stamp = picture.pts if picture.pts is not None else picture.dts
                    time = None if stamp is None else stamp * (picture.time_base or tick)
                    if time is None or (last is not None and time <= last):
                        guessed += 1
                        step = max(1, round(1 / (source.rate * tick))) if time is None else 1
                        time = Fraction(0) if last is None else last + step * tick
                    last = time
                    yield picture, time
        self._say(damaged, "damaged packets were skipped")
        self._say(guessed, "frames had no or unordered time stamps and got the next free one")

    def _frame(self, picture: av.VideoFrame, time: Fraction, index: int, duration: Fraction | None) -> Frame:
        pixels = apply_matrix(self.source.colour.to_rgb(picture, self.source.deep), self.source.matrix)
        self._check_size(pixels, index)
        return Frame(pixels, index, time, duration)

    def _check_size(self, pixels: Pixels, index: int) -> None:
        if pixels.shape[:2] != (self.info.height, self.info.width):
            raise InputError(
                f"{self.source.path}: frame {index} is {pixels.shape[1]}x{pixels.shape[0]}, the first was "
                f"{self.info.width}x{self.info.height}; convert the video to one size"
            )

    def _say(self, count: int, what: str) -> None:
        note = f"{count} {what}"
        if count and note not in self.notes:
            self.notes.append(note)
            _log.warning("%s: %s", self.source.path, note)


class VideoWriter:
    """Writes frames with their own time stamps and copies the sound and subtitles of the source.

    H.264 at crf 17, yuv420p or for deep sources its 10-bit form (VP9 with 8 bits for .webm), with the source's
    colour tags, pixel aspect, metadata, chapters and fonts. Sound packets go over untouched, in step with
    the pictures. The file is complete only when the block ends without an exception; write to the path of
    `files.atomic_output`. Memory does not grow.

    Args:
        path: .mp4, .mov, .mkv or .webm, see `output_suffix`.
        source: whose streams are kept.
        width, height: of the frames to be written, in pixels; odd ones are padded by one.
        options: of the encoder, beside or in the place of those here.
        effort: fast, medium or slow, how long the encoder searches.

    Attributes:
        notes: for a person, what is not as in the source.

    Raises:
        OutputError: unknown suffix, or the file cannot be written.
        InputError: a frame of another size or depth, or with a time that does not follow the one before.
    """

    def __init__(
        self,
        path: str | Path,
        source: VideoReader | str | Path,
        width: int,
        height: int,
        options: Mapping[str, str] | None = None,
        effort: str = "medium",
    ) -> None:
        self.path, self._options, self._effort = Path(path), dict(options or {}), effort
        self.source = source.source if isinstance(source, VideoReader) else probe(source)
        self.notes: list[str] = []
        self._size = (height, width)
        self._last: Fraction | None = None
        self._shift = Fraction(0)
        if self.path.suffix.lower() not in (".mp4", ".mov", ".mkv", ".webm"):
            raise OutputError(
                f"{self.path}: videos are written as .mp4, .mov, .mkv or .webm; choose one of these suffixes"
            )
        if width < 1 or height < 1:
            raise OutputError(f"{self.path}: got a size of {width}x{height}, expected at least one pixel")

    def __enter__(self) -> Self:
        options = {"movflags": "+faststart"} if self.path.suffix.lower() in (".mp4", ".mov") else {}
        with ExitStack() as opened:
            try:
                self._container = opened.enter_context(av.open(str(self.path), "w", options=options))
                self._video = self._add_video(self._container)
            except (av.FFmpegError, OSError, ValueError) as error:
                raise OutputError(f"{self.path}: cannot be created ({error}); choose another output") from error
            source = opened.enter_context(open_video(self.source.path))
            self._rest = Remux(source, self.source, self._container, self.notes)
            self._opened = opened.pop_all()
        return self

    def _add_video(self, container: OutputContainer) -> VideoStream:
        codec, options = codec_of(self.path.suffix, self._effort)
        source, (height, width) = self.source, self._size
        stream = cast(VideoStream, container.add_stream(codec, rate=source.rate, options={**options, **self._options}))
        context = stream.codec_context
        self._format = configure(context, source, codec, width, height)
        stream.time_base = source.time_base
        if source.deep and self._format != "yuv420p":
            self.notes.append("10-bit colour stays: some browsers do not play 10-bit H.264")
        elif source.deep:
            self.notes.append("10-bit colour becomes 8-bit, as VP9 is written here")
        suffix = self.path.suffix.lower()
        if suffix != source.path.suffix.lower():
            self.notes.append(f"{source.path.suffix or source.info.format} became {suffix}")
        if suffix in _MILLISECOND_SUFFIXES and (source.time_base * 1000).denominator != 1:
            self.notes.append(f"times are rounded to milliseconds, the clock of {suffix}")
        if (width, height) != (context.width, context.height):
            self.notes.append(
                f"{width}x{height} became {context.width}x{context.height}: yuv420p needs even sizes, "
                "the last column or row is repeated"
            )
        return stream

    def write(self, frame: Frame) -> None:
        """Encodes one frame at its time."""
        if self._last is None and self.source.part is not None:
            self._shift = frame.time  # a part begins at 0, its sound with it
            self._rest.cut(frame.time)
        self._last = check_frame(frame, self.source, self._size, self._last)
        picture = picture_of(frame, self.source, self._format, self._shift)
        try:
            self._mux(self._video.encode(picture))
        except (av.FFmpegError, OSError) as error:
            raise OutputError(f"{self.path}: frame {frame.index} cannot be written ({error})") from error

    def write_encoded(self, packets: Iterable[Encoded]) -> None:
        """Takes pictures that `media.segments` has encoded, in the place of `write`."""
        tick = self.source.time_base
        try:
            self._container.start_encoding()
            for encoded in packets:
                if self._last is None and self.source.part is not None:
                    self._shift = encoded.pts * tick
                    self._rest.cut(self._shift)
                self._last = encoded.pts * tick
                shift = int(self._shift / tick)
                packet = cast("Packet[VideoStream]", Packet(encoded.data))
                packet.pts, packet.dts, packet.duration = encoded.pts - shift, encoded.dts - shift, encoded.duration
                packet.time_base, packet.is_keyframe, packet.stream = tick, encoded.key, self._video
                self._mux([packet])
        except (av.FFmpegError, OSError) as error:
            raise OutputError(f"{self.path}: cannot be written ({error}); check the free space") from error

    def _mux(self, packets: list[Packet[VideoStream]]) -> None:
        for packet in packets:
            if packet.dts is not None:
                self._rest.copy_until(packet.dts * packet.time_base + self._shift)
            self._container.mux(packet)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._finish()
        except (av.FFmpegError, OSError) as failed:
            raise OutputError(f"{self.path}: cannot be finished ({failed}); check the free space") from failed
        finally:
            self._close(kind is not None)

    def _finish(self) -> None:
        if self._last is None:
            raise OutputError(f"{self.path}: no frame was written, so there is no video")
        self._mux(self._video.encode(None))
        self._rest.copy_until(None)

    def _close(self, failed: bool) -> None:
        try:
            self._opened.close()  # writes the index of the file
        except (av.FFmpegError, OSError) as error:
            if not failed:  # else the first error is the one to tell
                raise OutputError(f"{self.path}: cannot be finished ({error}); check the free space") from error


class Encoded(NamedTuple):
    """One encoded picture; times in ticks of the source's clock, not shifted."""

    data: bytes
    pts: int
    dts: int
    duration: int
    key: bool


def codec_of(suffix: str, effort: str = "medium") -> tuple[str, dict[str, str]]:
    """The encoder of a container, and its options; `effort` is one of `EFFORTS`."""
    preset, used = EFFORTS[effort]
    if suffix.lower() == ".webm":
        return _VP9[0], {**_VP9[1], "cpu-used": used}
    return _H264[0], {**_H264[1], "preset": preset}


def configure(context: VideoCodecContext, source: VideoSource, codec: str, width: int, height: int) -> str:
    """Sets an encoder up for results of a source; returns its pixel format."""
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
    """Whether a frame can be written after the one at `last`; returns its own time.

    Raises:
        InputError: for another size or depth, or a time that is off the source's clock or out of order.
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
