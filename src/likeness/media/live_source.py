"""A live stream, read in a thread of its own: the newest picture, and all sound in order."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from likeness.errors import ConfigError, InputError, one_line
from likeness.media.video_colour import Colour, colour_of

OPEN_SECONDS, READ_SECONDS = 5.0, 2.0  # without data, after which a stream is opened again
PAUSE_SECONDS = 0.2  # before it is opened again
SOUND_PACKETS = 1000  # that wait at most, some 20 s
TICK = Fraction(1, 90000)  # clock of MPEG transport streams
_NETWORK = ("udp://", "rtsp://", "rtsps://", "rtp://", "srt://", "tcp://", "http://", "https://", "rtmp://")
_LOW_DELAY = {"fflags": "nobuffer", "flags": "low_delay", "probesize": "200000", "analyzeduration": "500000"}


@dataclass(frozen=True)
class LiveInfo:
    """What a stream is; its first picture decides, and later ones are brought to that size.

    Attributes:
        width, height: in pixels.
        rate: frames a second, as far as the stream says.
        colour: of its pictures.
        audio: its first sound stream, a template for copies; None without one.
    """

    width: int
    height: int
    rate: Fraction
    colour: Colour
    audio: AudioStream | None


@dataclass(frozen=True)
class LivePicture:
    """One picture.

    Attributes:
        picture: as decoded, of the stream's first size.
        time: seconds since the first one, on a clock that goes on over reconnections.
        arrived: `time.monotonic()` when it was decoded.
    """

    picture: av.VideoFrame
    time: Fraction
    arrived: float


@dataclass(frozen=True)
class LiveSound:
    """One packet of sound.

    Attributes:
        packet: as it came.
        time: as of `LivePicture`.
        arrived: when it came, or when it was due if it came earlier.
    """

    packet: Packet[Any]
    time: Fraction
    arrived: float


@dataclass
class Counts:
    """What has happened so far.

    Attributes:
        pictures: decoded.
        dropped: of these, replaced by a newer one before they were taken.
        errors: packets that could not be decoded.
        reconnects: times that pictures came again after a break.
    """

    pictures: int = 0
    dropped: int = 0
    errors: int = 0
    reconnects: int = 0


def is_network(address: str) -> bool:
    """Whether an address is a stream of the network, which is opened again when it breaks off."""
    return address.lower().startswith(_NETWORK)


class LiveSource:
    """Reads a stream until it ends or the block is left.

    One picture waits to be taken; a newer one takes its place. A file is read at its own pace, as if it were live.

    Args:
        address: udp://..., rtsp://... and other addresses that FFmpeg reads, a file, - (standard input), or the number
            of a camera.

    Attributes:
        counts: of pictures, errors and reconnections.

    Raises:
        InputError: from `info`, if a file, pipe or camera cannot be opened or holds no pictures.
    """

    def __init__(self, address: str) -> None:
        self.address, self.counts = address, Counts()
        self._again = is_network(address)
        self._paced = not self._again and address != "-" and not address.isdecimal()
        self._changed = threading.Condition()
        self._info: LiveInfo | None = None
        self._waiting: LivePicture | None = None
        self._sound: deque[LiveSound] = deque(maxlen=SOUND_PACKETS)
        self._stop = threading.Event()
        self._ended, self._error = False, ""
        self._begin = time.monotonic()
        self._last = Fraction(-1)
        self._thread = threading.Thread(target=self._work, name="likeness-live", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self.address != "-":  # a pipe may block for ever
            self._thread.join()

    @property
    def ended(self) -> bool:
        """Whether no picture will come any more."""
        with self._changed:
            return self._ended and self._waiting is None

    def info(self, seconds: float) -> LiveInfo | None:
        """Waits so many seconds for the first picture; None if none came."""
        with self._changed:
            self._changed.wait_for(lambda: self._info is not None or self._ended, seconds)
            if self._info is None and self._ended:
                raise InputError(f"{self.address}: {self._error or 'holds no picture that can be decoded'}")
            return self._info

    @property
    def end(self) -> Fraction:
        """Time of the last sound that waits."""
        return self._sound[-1].time if self._sound else Fraction(0)

    def newest(self, seconds: float = 0.1) -> LivePicture | None:
        """Takes the newest picture; None if none came within so many seconds, or the stream has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None or self._ended, seconds)
            picture, self._waiting = self._waiting, None
            return picture

    def sound(self, until: Fraction, before: float) -> Iterator[LiveSound]:
        """Takes the sound up to a time, and sound of any time that arrived `before`."""
        while self._sound and (self._sound[0].time <= until or self._sound[0].arrived < before):
            yield self._sound.popleft()

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                with _opened(self.address) as container:
                    _Connection(self, container).read()
            except (av.FFmpegError, OSError, InputError) as error:
                self._error = one_line(error)
            if not self._again:
                break
            self._stop.wait(PAUSE_SECONDS)
        with self._changed:
            self._ended = True
            self._changed.notify_all()


@dataclass
class _Connection:
    """One opening of a stream: its times begin when its first picture arrives."""

    source: LiveSource
    container: InputContainer
    begin: Fraction | None = field(default=None, init=False)

    def read(self) -> None:
        source = self.source
        if not self.container.streams.video:
            raise InputError("has no picture stream; give a video")
        video = self.container.streams.video[0]
        audio = self.container.streams.audio[0] if self.container.streams.audio else None
        video.thread_type = "SLICE"  # threads over frames would hold some of them back
        for packet in self.container.demux(*filter(None, (video, audio))):
            if source._stop.is_set():
                return
            if packet.stream is audio:
                self._hear(packet)
                continue
            try:
                pictures: Any = packet.decode()
            except av.FFmpegError:
                source.counts.errors += 1
                continue
            for picture in pictures:
                self._show(picture, video, audio)

    def _show(self, picture: av.VideoFrame, video: VideoStream, audio: AudioStream | None) -> None:
        source = self.source
        if picture.pts is None or picture.time_base is None:
            source.counts.errors += 1
            return
        if source._info is None:
            # The test of the colours overwrites this picture, so the next one is the first that is shown.
            colour = colour_of(picture, video.codec_context.name, Path(source.address))
            rate = video.average_rate or video.guessed_rate or Fraction(25)
            with source._changed:
                source._info = LiveInfo(picture.width, picture.height, Fraction(rate), colour, audio)
                source._changed.notify_all()
            return
        stamp = picture.pts * picture.time_base
        if self.begin is None:
            source.counts.reconnects += source._last >= 0
            self.begin = _on_clock(time.monotonic() - source._begin) - stamp
        moment = _on_clock(self.begin + stamp)
        if source._paced:
            source._stop.wait(max(0.0, float(moment) - (time.monotonic() - source._begin)))
        moment = max(moment, source._last + TICK)
        source._last = moment
        info = source._info
        if (picture.width, picture.height) != (info.width, info.height):
            picture = picture.reformat(info.width, info.height)
        with source._changed:
            source.counts.pictures += 1
            source.counts.dropped += source._waiting is not None
            source._waiting = LivePicture(picture, moment, time.monotonic())
            source._changed.notify_all()

    def _hear(self, packet: Packet[Any]) -> None:
        if packet.size and packet.dts is not None and self.begin is not None:
            moment = self.begin + packet.dts * packet.time_base
            due = self.source._begin + float(moment)
            self.source._sound.append(LiveSound(packet, moment, max(due, time.monotonic())))


def _on_clock(seconds: Fraction | float) -> Fraction:
    return round(Fraction(seconds) / TICK) * TICK


def _opened(address: str) -> InputContainer:
    timeout = (OPEN_SECONDS, READ_SECONDS)
    if address == "-":
        return av.open("pipe:0", options=_LOW_DELAY)
    if address.isdecimal():
        cameras = {"linux": ("v4l2", f"/dev/video{address}"), "darwin": ("avfoundation", address)}
        if sys.platform not in cameras:
            raise ConfigError(f"source: got camera {address}, which is read on Linux and macOS; give an address")
        format, name = cameras[sys.platform]
        return av.open(name, format=format, options={"framerate": "30"})
    if not is_network(address):
        return av.open(address)
    udp = {"fifo_size": "50000", "overrun_nonfatal": "1"} if address.lower().startswith("udp") else {}
    return av.open(address, options={**_LOW_DELAY, "rtsp_transport": "tcp", **udp}, timeout=timeout)
