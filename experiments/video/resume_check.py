"""Checks that a killed restoration resumes exactly: `python experiments/video/resume_check.py input=clip.mp4`.

Restores a clip once in one go, and once with `resume=true` while the process is killed at random moments (SIGKILL), and
compares the decoded frames. Writes the result as Markdown.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import numpy as np

from likeness.errors import ConfigError, InputError, LikenessError
from likeness.evaluation.report.provenance import write_markdown
from likeness.media.video_reader import VideoReader
from likeness.tasks import arguments
from likeness.tasks.clips import moving, write_clip


@dataclass
class ResumeCheckOptions:
    """Options of the command.

    Attributes:
        input: the clip; empty = a drawn one, 320x240 at 10 frames a second with a moving face.
        seconds: length of the drawn clip.
        kills: number of kills.
        options: of infer.py.
        seed: of the moments.
        dst: the Markdown file to write.
    """

    input: str = ""
    seconds: float = 90.0
    kills: int = 5
    options: list[str] = field(default_factory=list)
    seed: int = 0
    dst: str = "experiments/video/resume_check.md"

    def __post_init__(self) -> None:
        if self.kills < 1 or self.seconds <= 0:
            raise ConfigError(f"got kills={self.kills}, seconds={self.seconds}; expected at least 1 and more than 0")


def command(source: Path, out: Path, options: Sequence[str]) -> list[str]:
    """The command line of the restoration."""
    words = [f"output={out}", "resume=true", "compare=no", *options]
    return [sys.executable, "-m", "likeness.cli", "restore", str(source), *words]


def run_until(words: Sequence[str], seconds: float | None) -> bool:
    """Runs a command and kills it after so many seconds; returns whether it ended by itself.

    Raises:
        LikenessError: if it failed.
    """
    with tempfile.TemporaryFile() as output, subprocess.Popen(words, stdout=output, stderr=output) as process:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return False
        if process.returncode:
            output.seek(0)
            last = output.read().decode(errors="replace").strip().splitlines()[-1:]
            raise LikenessError(f"{' '.join(words)}: exit code {process.returncode}: {''.join(last)}")
    return True


def different(one: Path, two: Path) -> tuple[int, int]:
    """Frames of the first clip; frames of either that differ in time or any pixel, or are missing in the other."""
    count = unequal = 0
    with VideoReader(one) as a, VideoReader(two) as b:
        for first, second in zip_longest(a, b):
            count += first is not None
            same = first is not None and second is not None and first.time == second.time
            unequal += not (same and np.array_equal(first.pixels, second.pixels))
    return count, unequal


def run(options: ResumeCheckOptions) -> None:
    """Restores, kills, compares and writes.

    Raises:
        InputError: if the restoration ends before it was killed so often.
    """
    rng = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        folder, source = Path(scratch), Path(options.input)
        if not options.input:
            source = folder / "drawn.mp4"
            write_clip(source, moving(round(options.seconds * 10), (320, 240), 80.0), 20, rate=10)
        start = time.perf_counter()
        run_until(command(source, folder / "whole", options.options), None)
        whole = time.perf_counter() - start
        parts, lines = folder / "parts", ["| killed after | finished segments of ten seconds |", "|---|---|"]
        words = command(source, parts, options.options)
        for _ in range(options.kills):
            moment = whole * float(rng.uniform(0.1, 1.5 / options.kills + 0.1))
            if run_until(words, moment):
                raise InputError(f"{source}: restored before it was killed {options.kills} times; give a longer clip")
            lines.append(f"| {moment:.1f} s | {len(list(parts.rglob('*.segment')))} |")
        run_until(words, None)
        (one,), (two,) = (list((folder / name / source.stem).glob(f"{source.stem}.*")) for name in ("whole", "parts"))
        frames, unequal = different(one, two)
        left = len(list(parts.rglob("*.segment")))
    summary = (
        f"{frames} frames, restored in {whole:.0f} s in one go. Killed {options.kills} times and started again: "
        f"**{unequal} of the decoded frames differ**, {left} segments are left behind."
    )
    facts = {"clip": options.input or "drawn", "options": options.options, "seed": options.seed}
    write_markdown(Path(options.dst), "Killed and resumed", [summary, "", *lines], facts)
    print(summary)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(ResumeCheckOptions, run, argv, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
