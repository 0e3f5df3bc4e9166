"""Writes videos as H.264, VP9 or ProRes 4444 with exact times and the sound."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from likeness.errors import OutputError
from likeness.log import get_logger
from likeness.media.naming import VIDEO_CONTAINERS
from likeness.media.video_encoding import (
    EncodedPacket,
    check_frame,
    codec_of,
    configure,
    conversions,
    holds_alpha,
    picture_of,
)
from likeness.media.video_reader import VideoReader
from likeness.media.video_remux import Remux
from likeness.media.video_source import VideoSource, open_video, probe
from likeness.media.xmp import DamagedXmpError, append_to_mp4, label_comment, labelled
from likeness.types import Frame

_log = get_logger(__name__)
_MILLISECOND_SUFFIXES = (".mkv", ".webm")


class VideoWriter:
    """Writes frames with their time stamps and copies the sound and subtitles of the source.

    H.264 at crf 17, yuv420p or for deep sources its 10-bit form (VP9 with 8 bits for .webm; VP9 with alpha or ProRes
    4444 for transparent sources), with the source's colour tags, chroma location, pixel aspect, metadata, XMP, chapters
    and fonts. Sound packets are copied untouched, interleaved with the frames; sound that the container does not hold
    is encoded again.
    The file is complete only when the block ends without an exception; write to the path of `files.atomic_output`.
    Memory does not grow.

    Args:
        path: .mp4, .mov, .mkv or .webm, see `naming.video_suffix`.
        source: its other streams are copied.
        width, height: of the frames, in pixels; odd sizes are padded by one.
        options: of the encoder, which override the defaults.
        effort: fast, medium or slow, how long the encoder searches.
        label: whether the comment says that a network made part of the video.

    Attributes:
        notes: for a person, what differs from the source.

    Raises:
        OutputError: unknown suffix, or the file cannot be written.
        InputError: a frame of another size or depth, or with a time that does not follow the one before.
    """

    def __init__(
        self,
        path: str | Path,
        source: VideoReader | VideoSource | str | Path,
        width: int,
        height: int,
        options: Mapping[str, str] | None = None,
        effort: str = "medium",
        label: bool = False,
    ) -> None:
        self.path, self._options, self._effort, self._label = Path(path), dict(options or {}), effort, label
        if isinstance(source, VideoReader):
            source = source.source
        self.source = source if isinstance(source, VideoSource) else probe(source)
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
            self._rest = Remux(source, self.source, self._container, self.path.suffix.lower(), self.notes)
            self._describe(self._container.metadata)
            self._opened = opened.pop_all()
        return self

    def _describe(self, metadata: dict[str, str]) -> None:
        """Puts the label into the comment, and into the source's XMP, which FFmpeg writes into all but MP4."""
        if self._label:
            metadata["comment"] = label_comment(metadata.get("comment"))
        name = next((key for key in metadata if key.lower() == "xmp"), "xmp")  # Matroska's tags are in capitals
        packet, self._xmp = metadata.pop(name, None), b""
        if packet is None:
            return
        try:
            self._xmp = labelled(packet.encode()) if self._label else packet.encode()
            metadata["xmp"] = self._xmp.decode()
        except DamagedXmpError as error:
            self.notes.append(f"XMP was left out: it is damaged ({error})")

    def _add_video(self, container: OutputContainer) -> VideoStream:
        source, (height, width) = self.source, self._size
        suffix = self.path.suffix.lower()
        codec, options = codec_of(source, suffix, self._effort)
        stream = cast(VideoStream, container.add_stream(codec, rate=source.rate, options={**options, **self._options}))
        context = stream.codec_context
        self._format = configure(context, source, codec, suffix, self._size)
        stream.time_base = source.time_base
        if source.alpha and not holds_alpha(source, suffix):
            _log.warning("%s: transparency is lost, as %s holds none", source.path, suffix)
        self.notes.extend(conversions(source, suffix, codec, self._format))
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
            if self._xmp and not failed and self.path.suffix.lower() == ".mp4":
                append_to_mp4(self.path, self._xmp)
        except (av.FFmpegError, OSError) as error:
            if not failed:  # else the first error is raised
                raise OutputError(f"{self.path}: cannot be finished ({error}); check the free space") from error
