"""Delay, memory and reconnections of live restoration on loopback: `python experiments/live/live.py`.

A process of its own sends a drawn face as MPEG-TS with sound over UDP. It stops and begins again as often as `breaks`
says. The result goes to another UDP port, where nobody needs to listen.
"""

from __future__ import annotations

import multiprocessing
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from threading import Thread

import av
import numpy as np

from likeness.errors import ConfigError
from likeness.evaluation.report import provenance
from likeness.media.live_source import READ_SECONDS
from likeness.pipeline.config import from_overrides
from likeness.pipeline.live import LiveRestorer, LiveStatistics
from likeness.pipeline.restorer import Restorer
from likeness.tasks import arguments
from likeness.tasks.clips import moving

SOUND_RATE = 44100


@dataclass
class LiveOptions:
    """Options of the command.

    Attributes:
        dst: folder of the table.
        name: of the table's file.
        minutes: of the stream, without the pauses.
        rate: frames a second.
        width, height, face: of the pictures, in pixels.
        breaks: pauses of the sender, each longer than the reader waits.
        settings: options of the restoration, with spaces between them.
    """

    dst: str = "experiments/live"
    name: str = "table"
    minutes: float = 2.0
    rate: int = 15
    width: int = 640
    height: int = 480
    face: float = 80.0
    breaks: int = 0
    settings: str = "preset=speed expert.name=expert_f"

    def __post_init__(self) -> None:
        if self.minutes <= 0 or self.rate < 1 or self.breaks < 0:
            raise ConfigError(
                f"got minutes={self.minutes}, rate={self.rate}, breaks={self.breaks}; "
                "expected above 0, at least 1, at least 0"
            )


def free_port() -> int:
    """A UDP port of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def send(address: str, options: LiveOptions) -> None:
    """Sends the stream at its own pace, with its pauses."""
    frames = list(moving(8 * options.rate, (options.width, options.height), options.face))
    parts = options.breaks + 1
    count = max(1, round(60 * options.minutes * options.rate / parts))
    for part in range(parts):
        if part:
            time.sleep(READ_SECONDS + 1)
        _send_part(address, frames, count, options.rate)


def _send_part(address: str, frames: Sequence[np.ndarray], count: int, rate: int) -> None:
    with av.open(address, "w", format="mpegts") as out:
        fast = {"preset": "ultrafast", "tune": "zerolatency", "crf": "20"}
        video = out.add_stream("libx264", rate=rate, options=fast)
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt, video.gop_size = "yuv420p", rate
        audio = out.add_stream("mp2", rate=SOUND_RATE, layout="mono")
        begin, heard = time.monotonic(), 0
        for i in range(count):
            picture = av.VideoFrame.from_ndarray(frames[i % len(frames)], "rgb24")
            picture.pts, picture.time_base = i, Fraction(1, rate)
            out.mux(video.encode(picture))
            while heard < SOUND_RATE * i / rate:
                tone = (8000 * np.sin(np.arange(heard, heard + 1152) * 0.06)).astype(np.int16)
                sound = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
                sound.sample_rate, sound.pts, sound.time_base = SOUND_RATE, heard, Fraction(1, SOUND_RATE)
                out.mux(audio.encode(sound))
                heard += 1152
            time.sleep(max(0.0, begin + (i + 1) / rate - time.monotonic()))


def table(seconds: Sequence[LiveStatistics], whole: LiveStatistics, sent: int) -> list[str]:
    """Markdown rows of a run."""
    busy = [second for second in seconds if second.fps_out > 0]
    delays = [second.delay for second in busy]
    memory = [second.memory_mb or 0 for second in seconds]
    fifth = max(1, len(memory) // 5)
    rows: dict[str, str] = {
        "pictures sent": str(sent),
        "received": str(round(whole.fps_in * whole.seconds)),
        "shown": str(round(whole.fps_out * whole.seconds)),
        "dropped for a newer one": str(whole.dropped),
        "errors": str(whole.errors),
        "reconnects": str(whole.reconnects),
        "delay, mean, ms": f"{whole.delay:.0f}",
        "delay, 95 % of seconds below, ms": f"{np.percentile(delays, 95):.0f}",
        "delay, longest, ms": f"{whole.longest:.0f}",
        "delay of sound, mean, ms": f"{whole.sound_delay or 0:.0f}",
        "memory, mean of the second fifth, MB": f"{np.mean(memory[fifth : 2 * fifth]):.0f}",
        "memory, mean of the last fifth, MB": f"{np.mean(memory[-fifth:]):.0f}",
        "memory, largest, MB": f"{max(memory):.0f}",
    }
    return ["| what | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]


def run(options: LiveOptions) -> None:
    """Measures, prints and writes.

    Raises:
        OutputError: if the table cannot be written.
    """
    here, there = (f"udp://127.0.0.1:{free_port()}" for _ in range(2))
    seconds: list[LiveStatistics] = []

    def tell(second: LiveStatistics) -> None:
        seconds.append(second)
        print(second, flush=True)

    restorer = Restorer(from_overrides(options.settings.split()))
    warm = next(islice(moving(1, (options.width, options.height), options.face), 1))
    restorer.image(warm)
    live = LiveRestorer(restorer, here, there, tell)
    whole: list[LiveStatistics] = []
    worker = Thread(target=lambda: whole.append(live.run()))
    worker.start()
    sender = multiprocessing.get_context("spawn").Process(target=send, args=(here, options))
    sender.start()
    sender.join()
    time.sleep(1)
    live.stop()
    worker.join()
    sent = (options.breaks + 1) * max(1, round(60 * options.minutes * options.rate / (options.breaks + 1)))
    lines = table(seconds, whole[0], sent)
    title = f"Live: {options.width}x{options.height}, {options.rate} frames a second, {options.minutes:g} minutes"
    facts = {"weights": restorer.weights_hashes(), "machine": provenance.machine("cpu")}
    provenance.write_markdown(Path(options.dst) / f"{options.name}.md", title, lines, facts)
    print("\n".join(lines))


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(LiveOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
