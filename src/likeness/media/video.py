"""Videos: read as upright RGB frames with exact times, written as H.264 or VP9 with the untouched sound."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from likeness.errors import InputError, OutputError
from likeness.log import get_logger
from likeness.media.naming import VIDEO_CONTAINERS
from likeness.media.video_encoding import EncodedPacket, check_frame, codec_of, configure, picture_of
from likeness.media.video_remux import Remux
from likeness.media.video_source import VideoSource, apply_matrix, open_video, picture_stream, probe
from likeness.types import Frame, MediaInfo, Pixels, TimeRange

_log = get_logger(__name__)

_MILLISECOND_SUFFIXES = (".mkv", ".webm")


class VideoReader:
    """The upright frames of a video in order of presentation; may be iterated more than once.

    A `Frame` is HWC RGB, uint8 or, for sources with 10 bits, uint16. Its `time` is the exact time stamp x clock, its
    `duration` the time to the next frame (of the last one what the stream says, or None).
    Memory does not grow with the length.

    Attributes:
        source: everything known of the file.
        notes: for a person, filled while iterating: damaged packets, missing or unordered time stamps.

    Args:
        path: the file.
        time_range: reads only these frames, with their times in the whole video.

    Raises:
        InputError: the file is missing, damaged or no video (at once), or breaks off (while iterating).
    """

    def __init__(self, path: str | Path, time_range: TimeRange | None = None) -> None:
        self.source: VideoSource = probe(path, time_range)
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
        pending: tuple[av.VideoFrame, Fraction] | None = None
        first, end = self._bounds()
        with closing(self._decoded_from(first)) as pictures:
            for picture, time in pictures:
                if time < first:
                    continue
                if end is not None and time >= end:
                    if pending is not None:
                        yield self._frame(*pending, index, time - pending[1])
                    return
                if pending is not None:
                    # The next frame tells how long this one is shown: the durations that containers store follow the
                    # order of decoding.
                    yield self._frame(*pending, index, time - pending[1])
                    index += 1
                pending = picture, time
        if pending is not None:
            picture = pending[0]
            tick = picture.time_base or self.source.time_base
            yield self._frame(*pending, index, picture.duration * tick if picture.duration else None)
            index += 1
        if self.info.frames is not None and index < self.info.frames:
            missing = self.info.frames - index
            self._note(missing, "of the promised frames are missing: the file breaks off or is damaged")

    def _bounds(self) -> tuple[Fraction, Fraction | None]:
        """The time of the first frame to read, and the time at which to stop."""
        time_range, begin = self.source.time_range, self.source.begin
        if time_range is None:
            return min(begin, Fraction(0)) - 1, None  # streams may begin below 0
        return begin + time_range.start, None if time_range.end is None else begin + time_range.end

    def _decoded_from(self, first: Fraction) -> Generator[tuple[av.VideoFrame, Fraction]]:
        """Decoded pictures with their growing times, from a key frame at or before `first`."""
        if self.source.time_range is not None and self.source.time_range.start > 0:
            with closing(self._decoded(first)) as pictures:
                opening = next(pictures, None)
                if opening is not None and opening[1] <= first:
                    yield opening
                    yield from pictures
                    return
        # Not every container can seek: then everything before is decoded and dropped.
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
        self._note(damaged, "damaged packets were skipped")
        self._note(guessed, "frames had no or unordered time stamps and got the next free one")

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

    def _note(self, count: int, what: str) -> None:
        note = f"{count} {what}"
        if count and note not in self.notes:
            self.notes.append(note)
            _log.warning("%s: %s", self.source.path, note)


class VideoWriter:
    """Writes frames with their time stamps and copies the sound and subtitles of the source.

    H.264 at crf 17, yuv420p or for deep sources its 10-bit form (VP9 with 8 bits for .webm), with the source's colour
    tags, pixel aspect, metadata, chapters and fonts. Sound packets are copied untouched, interleaved with the frames.
    The file is complete only when the block ends without an exception; write to the path of `files.atomic_output`.
    Memory does not grow.

    Args:
        path: .mp4, .mov, .mkv or .webm, see `naming.video_suffix`.
        source: its other streams are copied.
        width, height: of the frames, in pixels; odd sizes are padded by one.
        options: of the encoder, which override the defaults.
        effort: fast, medium or slow, how long the encoder searches.

    Attributes:
        notes: for a person, what differs from the source.

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
        if self.path.suffix.lower() not in VIDEO_CONTAINERS:
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
        if self._last is None and self.source.time_range is not None:
            self._shift = frame.time  # the result begins at 0, and so does its sound
            self._rest.cut(frame.time)
        self._last = check_frame(frame, self.source, self._size, self._last)
        picture = picture_of(frame, self.source, self._format, self._shift)
        try:
            self._mux(self._video.encode(picture))
        except (av.FFmpegError, OSError) as error:
            raise OutputError(f"{self.path}: frame {frame.index} cannot be written ({error})") from error

    def write_encoded(self, packets: Iterable[EncodedPacket]) -> None:
        """Takes frames that `segments.SegmentEncoder` encoded; replaces `write`."""
        tick = self.source.time_base
        try:
            self._container.start_encoding()
            for encoded in packets:
                if self._last is None and self.source.time_range is not None:
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
            if not failed:  # else the first error is raised
                raise OutputError(f"{self.path}: cannot be finished ({error}); check the free space") from error
