"""Live restoration: the newest picture is restored and shown, and what came in between is dropped.

No picture waits behind another one, so the delay stays below the time of about two pictures, however slow the machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import torch

from likeness.errors import ConfigError, LikenessError
from likeness.log import get_logger
from likeness.media.live_sink import LiveSink, open_sink
from likeness.media.live_source import LiveInfo, LivePicture, LiveSource
from likeness.pipeline.config import RestorerConfig
from likeness.pipeline.report import peak_memory_mb
from likeness.pipeline.restorer import Restorer
from likeness.pipeline.state import ClipState, Context
from likeness.pipeline.steps import restore_frame
from likeness.stages.background.base import choose_upscale
from likeness.stages.background.lanczos import lanczos
from likeness.types import Frame, Pixels

SOUND_WAITS = 1.0  # seconds at most for the picture of its time
_log = get_logger(__name__)


@dataclass(frozen=True)
class LiveStatistics:
    """One second of a live restoration, or all of it.

    Attributes:
        seconds: since the start.
        fps_in, fps_out: pictures received and shown a second.
        delay, longest: mean and longest time from decoding a picture to having written it, in milliseconds.
        sound_delay: mean time that sound waited, in milliseconds; None without sound.
        faces: in the last picture.
        dropped, errors, reconnects: since the start.
        memory_mb: resident size of the process; None where the system does not tell.
        gpu_mb: memory in use on a CUDA device; None without one.
    """

    seconds: float
    fps_in: float
    fps_out: float
    delay: float
    longest: float
    sound_delay: float | None
    faces: int
    dropped: int
    errors: int
    reconnects: int
    memory_mb: float | None
    gpu_mb: float | None

    def __str__(self) -> str:
        sound = "" if self.sound_delay is None else f", sound {self.sound_delay:.0f} ms"
        memory = "" if self.memory_mb is None else f", {self.memory_mb:.0f} MB"
        gpu = "" if self.gpu_mb is None else f", GPU {self.gpu_mb:.0f} MB"
        return (
            f"{self.seconds:.0f} s: fps in {self.fps_in:.1f}, out {self.fps_out:.1f}, delay {self.delay:.0f} ms "
            f"(at most {self.longest:.0f}){sound}, faces {self.faces}, dropped {self.dropped}, errors {self.errors}, "
            f"reconnects {self.reconnects}{memory}{gpu}"
        )


@dataclass
class _Meter:
    """Adds up one period of time."""

    begin: float
    pictures_before: int = 0
    shown: int = 0
    delays: float = 0.0
    longest: float = 0.0
    sounds: int = 0
    sound_delays: float = 0.0

    def show(self, delay: float) -> None:
        self.shown, self.delays, self.longest = self.shown + 1, self.delays + delay, max(self.longest, delay)

    def hear(self, delay: float) -> None:
        self.sounds, self.sound_delays = self.sounds + 1, self.sound_delays + delay


class LiveRestorer:
    """Restores one stream; used once.

    Args:
        restorer: networks and options.
        source: address of the stream, see `LiveSource`.
        sink: address of the result, see `open_sink`.
        tell: called with the statistics of every second.

    Raises:
        ConfigError: for options that are for files, such as `start`.

    Attributes:
        source: of the stream, with its counts.
        stopped: whether `stop` was called.
    """

    def __init__(
        self, restorer: Restorer, source: str, sink: str, tell: Callable[[LiveStatistics], None] = lambda _: None
    ) -> None:
        _check(restorer.config)
        self.models, self.config = restorer.models, restorer.config
        self.source, self.sink, self.tell = LiveSource(source), sink, tell
        self.stopped = False
        self._state, self._index, self._faces, self._errors = ClipState(), 0, 0, 0
        self._shown_until = Fraction(-1)

    def stop(self) -> None:
        """Ends `run` after the picture that it works on."""
        self.stopped = True

    def run(self) -> LiveStatistics:
        """Restores until the stream ends or `stop` is called; returns the statistics of all of it.

        Raises:
            InputError: if the source cannot be opened or holds no pictures.
            OutputError: if the sink cannot be written.
        """
        with self.source as source:
            begin = time.monotonic()
            whole, second = _Meter(begin), _Meter(begin)
            while (info := source.info(1.0)) is None:
                if self.stopped:
                    return self._statistics(whole, begin)
                self.tell(self._statistics(second, begin))
            second = _Meter(time.monotonic())
            upscale = choose_upscale(self.config.upscale, "video", info.width, info.height)
            context = Context(self.models, self.config, "video", upscale)
            with open_sink(self.sink, info, upscale, self.config.label) as sink:
                while not self.stopped and not source.ended:
                    picture = source.newest()
                    if picture is not None:
                        sink.write(self._restored(picture, info, context), picture.time)
                        for meter in (whole, second):
                            meter.show(time.monotonic() - picture.arrived)
                        self._shown_until = picture.time
                    self._pass_sound(sink, (whole, second))
                    if time.monotonic() - second.begin >= 1:
                        self.tell(self._statistics(second, begin))
                        second = _Meter(time.monotonic(), source.counts.pictures)
                if source.ended:
                    self._shown_until = source.end
                    self._pass_sound(sink, (whole, second))
            return self._statistics(whole, begin)

    def _restored(self, picture: LivePicture, info: LiveInfo, context: Context) -> Pixels:
        """The restored pixels; enlarged ones after an error, which is counted."""
        frame = Frame(info.colour.to_rgb(picture.picture), self._index, picture.time)
        self._index += 1
        try:
            result, self._state = restore_frame(frame, self._state, context)
        except LikenessError as error:
            self._errors, self._state, self._faces = self._errors + 1, ClipState(), 0
            _log.warning("picture %s: %s", frame.index, error)
            return lanczos(frame.pixels, context.upscale)
        self._faces = len(result.faces)
        return result.pixels

    def _pass_sound(self, sink: LiveSink, meters: tuple[_Meter, _Meter]) -> None:
        """Sound leaves with the picture of its time, so that both stay in step; it never waits longer than a second."""
        now = time.monotonic()
        for sound in self.source.sound(self._shown_until, now - SOUND_WAITS):
            sink.write_sound(sound)
            for meter in meters:
                meter.hear(now - sound.arrived)

    def _statistics(self, meter: _Meter, begin: float) -> LiveStatistics:
        counts, now = self.source.counts, time.monotonic()
        period = max(now - meter.begin, 1e-6)
        return LiveStatistics(
            seconds=now - begin,
            fps_in=(counts.pictures - meter.pictures_before) / period,
            fps_out=meter.shown / period,
            delay=1000 * meter.delays / max(meter.shown, 1),
            longest=1000 * meter.longest,
            sound_delay=1000 * meter.sound_delays / meter.sounds if meter.sounds else None,
            faces=self._faces,
            dropped=counts.dropped,
            errors=counts.errors + self._errors,
            reconnects=counts.reconnects,
            memory_mb=memory_mb(),
            gpu_mb=torch.cuda.memory_allocated() / 2**20 if torch.cuda.is_available() else None,
        )


def _check(config: RestorerConfig) -> None:
    """Refuses options that are for files."""
    ranged = [name for name in ("start", "end", "preview") if getattr(config, name) is not None]
    given = [*ranged, *(["resume"] if config.resume else []), *(["video.fps"] if config.video.fps else [])]
    if config.compare == "yes":
        given.append("compare=yes")
    if given:
        raise ConfigError(f"live: got {', '.join(given)}, which is for files; leave it out")


def memory_mb() -> float | None:
    """Resident size of this process in MB; on systems other than Linux its largest so far."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return peak_memory_mb()
    import resource

    return int(statm.read_text().split()[1]) * resource.getpagesize() / 2**20
