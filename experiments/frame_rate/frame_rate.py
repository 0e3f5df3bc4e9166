"""Compares interpolators on clips whose every second frame is left out: `python experiments/frame_rate/frame_rate.py`.

Each missing frame is made again from its two neighbours and compared with the true one. `repeat` shows the earlier
neighbour, as a player does. Pairs with a cut between them are left out.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from likeness.errors import ConfigError
from likeness.evaluation.benchmarks.video import TrueClip, open_clips, true_frames
from likeness.evaluation.report import provenance
from likeness.paths import data_folder
from likeness.stages.temporal.config import VideoConfig
from likeness.stages.temporal.cuts import is_cut, thumbnail
from likeness.stages.temporal.interpolation import INTERPOLATORS
from likeness.tasks import arguments
from likeness.types import Pixels

BEST = 60.0  # dB, counted for frames that are reproduced better than that, such as those of a still


@dataclass
class FrameRateOptions:
    """Options of the command.

    Attributes:
        clips: folder of clips with index.csv; by default clips_good below LIKENESS_DATA.
        dst: folder of the table.
        side: the shorter side to which the clips are reduced, in pixels.
        frames: of each clip, from its beginning; 0 = all.
        gap: distance of the two neighbours in frames, an even number.
    """

    clips: str = ""
    dst: str = "experiments/frame_rate"
    side: int = 360
    frames: int = 0
    gap: int = 2

    def __post_init__(self) -> None:
        if self.side < 32 or self.frames < 0 or self.gap < 2 or self.gap % 2:
            raise ConfigError(
                f"got side={self.side}, frames={self.frames}, gap={self.gap}; expected at least 32, at least 0, "
                "an even number"
            )


@dataclass(frozen=True)
class Scores:
    """One clip: mean PSNR in dB and milliseconds a picture, by method."""

    name: str
    pictures: int
    psnr: dict[str, float]
    milliseconds: dict[str, float]


def psnr(made: Pixels, truth: Pixels) -> float:
    """Of two pictures of 8 bits in dB, at most `BEST`."""
    error = float(np.square(made.astype(np.float32) - truth).mean())
    return min(BEST, 10 * np.log10(255**2 / max(error, 1e-9)))


def triples(clip: TrueClip, options: FrameRateOptions) -> Iterator[tuple[Pixels, Pixels, Pixels]]:
    """Two neighbours and the true frame in the middle, reduced; none across a cut."""
    kept: list[Pixels] = []
    step = options.gap
    for index, pixels in enumerate(true_frames(clip)):
        scale = min(1.0, options.side / min(pixels.shape[:2]))
        kept.append(cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
        kept = kept[-step - 1 :]
        if index and index % step == 0:
            before, truth, after = kept[0], kept[step // 2], kept[-1]
            if not is_cut(thumbnail(before), thumbnail(after), VideoConfig().cut):
                yield before, truth, after


def score(clip: TrueClip, options: FrameRateOptions) -> Scores:
    """All methods on one clip."""
    methods = {"repeat": lambda before, after: lambda phase: before}
    methods |= {name: INTERPOLATORS[name].load(None) for name in INTERPOLATORS.names}
    figures: dict[str, list[float]] = {name: [] for name in methods}
    seconds = dict.fromkeys(methods, 0.0)
    for before, truth, after in triples(clip, options):
        for name, method in methods.items():
            start = time.perf_counter()
            made = method(before, after)(0.5)
            seconds[name] += time.perf_counter() - start
            figures[name].append(psnr(made, truth))
    count = len(figures["repeat"])
    return Scores(
        clip.name,
        count,
        {name: float(np.mean(values)) for name, values in figures.items()},
        {name: 1000 * value / count for name, value in seconds.items()},
    )


def table(results: Sequence[Scores]) -> list[str]:
    """Markdown rows: PSNR by clip and method, their means, and how far the methods lie above the simple ones."""
    names = list(results[0].psnr)
    means = {name: float(np.mean([r.psnr[name] for r in results])) for name in names}
    rows = [
        f"| clip | pictures | {' | '.join(f'{name}, dB' for name in names)} |",
        "|---|---|" + "---|" * len(names),
        *(f"| {r.name} | {r.pictures} | {' | '.join(f'{r.psnr[n]:.2f}' for n in names)} |" for r in results),
        f"| **mean of clips** | {sum(r.pictures for r in results)} | "
        + " | ".join(f"**{means[n]:.2f}**" for n in names)
        + " |",
        "",
        *(
            f"- {name}: {means[name] - means['average']:+.2f} dB above averaging, "
            f"{means[name] - means['repeat']:+.2f} dB above repeating, "
            f"{np.mean([r.milliseconds[name] for r in results]):.0f} ms a picture"
            for name in names
            if name not in ("repeat", "average")
        ),
    ]
    return rows


def run(options: FrameRateOptions) -> None:
    """Measures, prints and writes.

    Raises:
        DataError: if there are no clips.
        OutputError: if the table cannot be written.
    """
    root = data_folder()
    folder = Path(options.clips) if options.clips else root and root / "clips_good"
    clips = open_clips(folder, {}, None, options.frames or None)
    results = [score(clip, options) for clip in track(clips, "clips", disable=not sys.stderr.isatty())]
    lines = table(results)
    title = f"Every second frame made again, shorter side {options.side} px, neighbours {options.gap} frames apart"
    facts = {"machine": provenance.machine("cpu")}
    file = "table.md" if options.gap == 2 else f"table_{options.gap}.md"
    provenance.write_markdown(Path(options.dst) / file, title, lines, facts)
    print("\n".join(lines))


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(FrameRateOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
