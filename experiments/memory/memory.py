"""Measures memory over a long clip: `python experiments/memory/memory.py seconds=120 width=1920 height=1080`.

Draws a clip with sound, restores it in another process and samples that process's resident memory. Writes the curve as
CSV and PNG, and a summary as Markdown.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.progress import Progress

from likeness.errors import ConfigError, LikenessError
from likeness.evaluation.report import provenance
from likeness.evaluation.report.files import writing
from likeness.tasks import arguments
from likeness.tasks.clips import moving, write_clip
from likeness.types import Pixels


@dataclass
class MemoryOptions:
    """Options of the command.

    Attributes:
        dst: folder of the results.
        seconds: length of the clip.
        width, height: of its frames, in pixels.
        rate: frames a second.
        faces: fraction of the clip that shows a face, 0..1; the rest is a plain grey.
        upscale: of the restoration.
        every: seconds between two samples.
    """

    dst: str = "experiments/memory"
    seconds: float = 120.0
    width: int = 1920
    height: int = 1080
    rate: int = 25
    faces: float = 1.0
    upscale: int = 1
    every: float = 0.5

    def __post_init__(self) -> None:
        if not (self.seconds > 0 and self.rate > 0 and self.every > 0 and 0 <= self.faces <= 1):
            raise ConfigError(
                f"got seconds={self.seconds}, rate={self.rate}, every={self.every}, faces={self.faces}; expected "
                "numbers above 0 and a fraction of 0 to 1"
            )

    @property
    def name(self) -> str:
        """Name of the files."""
        return f"{self.width}x{self.height}-{self.seconds:g}s"


@dataclass(frozen=True)
class Curve:
    """Resident memory over time.

    Attributes:
        seconds: since the process began.
        megabytes: at each of them.
    """

    seconds: tuple[float, ...]
    megabytes: tuple[float, ...]

    @property
    def peak(self) -> float:
        """The largest, in MB."""
        return max(self.megabytes)

    @property
    def slope(self) -> float:
        """MB a minute, fitted over all but the first fifth of the time, in which networks load and buffers fill."""
        late = [(t, m) for t, m in zip(self.seconds, self.megabytes, strict=True) if t >= self.seconds[-1] / 5]
        times, sizes = np.array(late).T
        return float(np.polyfit(times, sizes, 1)[0] * 60)


def scenes(options: MemoryOptions) -> Iterator[Pixels]:
    """Frames of the clip: in every ten seconds first those with a face, then grey ones."""
    count, period = round(options.seconds * options.rate), 10 * options.rate
    shown = round(options.faces * period)
    size = (options.width, options.height)
    grey = np.full((options.height, options.width, 3), 128, np.uint8)
    faces = moving(count, size)
    for start in range(0, count, period):
        length = min(period, count - start)
        with_face = min(shown, length)
        yield from islice(faces, with_face)
        yield from (grey for _ in range(length - with_face))


def sample_memory(command: Sequence[str], every: float) -> Curve:
    """Runs the command and samples its memory until it ends.

    Raises:
        LikenessError: if psutil is missing, or the command fails.
    """
    try:
        import psutil
    except ImportError as error:
        raise LikenessError("psutil is not installed; expected the extra dev: pip install -e '.[dev]'") from error
    times, sizes, start = list[float](), list[float](), time.perf_counter()
    with tempfile.TemporaryFile() as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        reader = psutil.Process(process.pid)
        while process.poll() is None:
            if size := reader.memory_info().rss:  # 0 once it has ended
                sizes.append(size / 2**20)
                times.append(time.perf_counter() - start)
            time.sleep(every)
        if process.returncode:
            output.seek(0)
            last = output.read().decode(errors="replace").strip().splitlines()[-1:]
            raise LikenessError(f"{' '.join(command)}: exit code {process.returncode}: {''.join(last)}")
    return Curve(tuple(times), tuple(sizes))


def plot(curve: Curve, title: str, file: Path) -> None:
    """The curve as PNG."""
    figure = Figure(figsize=(8, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    panel.plot(np.array(curve.seconds) / 60, curve.megabytes)
    panel.set(title=title, xlabel="minutes", ylabel="resident MB", ylim=(0, None))
    panel.grid(alpha=0.3)
    figure.savefig(file, dpi=110, metadata={"Software": None})


def run(options: MemoryOptions) -> None:
    """Draws, restores, samples and writes."""
    folder = Path(options.dst)
    with tempfile.TemporaryDirectory() as scratch:
        source, out = Path(scratch) / "clip.mp4", Path(scratch) / "out"
        count = round(options.seconds * options.rate)
        with Progress(disable=not sys.stderr.isatty()) as progress:
            frames = progress.track(scenes(options), total=count, description="drawing the clip")
            write_clip(source, frames, 20, options.rate)
        command = [sys.executable, "-m", "likeness.cli", "restore", str(source), f"output={out}"]
        curve = sample_memory([*command, f"upscale={options.upscale}", "device=cpu"], options.every)
        totals = json.loads((out / "clip" / "clip_report.json").read_text())["totals"]
    lines = [
        f"# Memory over a clip of {options.seconds:g} seconds",
        "",
        f"{totals['frames']} frames of {options.width}x{options.height}, a face in {options.faces:.0%} of them, "
        f"upscale {options.upscale}: peak {curve.peak:.0f} MB, {curve.slope:+.1f} MB a minute after the first fifth of "
        f"{curve.seconds[-1] / 60:.1f} minutes; {totals['frames_per_second']:.2f} frames a second.",
        "",
        f"![resident memory]({options.name}.png)",
        "",
        f"Command: `{provenance.command()}`, commit {provenance.commit()}, {provenance.machine('cpu')}.",
        "",
    ]
    with writing(folder, "dst"):
        with (folder / f"{options.name}.csv").open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("seconds", "megabytes"))
            writer.writerows((f"{t:.1f}", f"{m:.0f}") for t, m in zip(curve.seconds, curve.megabytes, strict=True))
        plot(curve, f"{count} frames of {options.width}x{options.height}", folder / f"{options.name}.png")
        (folder / f"{options.name}.md").write_text("\n".join(lines))
    print(lines[2])


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(MemoryOptions, run, argv, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
