"""Validates the figures of skin, specks and streaks: `python experiments/figures/figures.py`.

On two disjoint sets of held-out real photographs: the bounds of the figures were chosen on the first, the second
confirms them. Rows: the photographs; the same blurred, noisy, compressed and resized, which must not count; and the
methods' restorations of degraded ones.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from rich.progress import track

from likeness.data.degradations.codecs import jpeg
from likeness.data.faces import FaceRecord, read_face
from likeness.errors import ConfigError, DataError
from likeness.evaluation.benchmarks.base import Sample
from likeness.evaluation.benchmarks.faces import face_folder, real_faces
from likeness.evaluation.methods.base import Method, MethodContext, at_both_sizes, clipped_batch
from likeness.evaluation.methods.crops import METHODS
from likeness.evaluation.protocol.faces import degraded_face
from likeness.evaluation.report.provenance import write_markdown
from likeness.evaluation.report.statistics import bootstrap
from likeness.evaluation.report.tables import interval_text
from likeness.metrics import specks, streaks
from likeness.metrics.images import round8
from likeness.ops.color import to_float
from likeness.ops.resize import resize
from likeness.tasks import arguments
from likeness.types import FloatArray, Pixels

Values = npt.NDArray[np.float64]  # (faces, 2)


@dataclass
class FiguresOptions:
    """Options of the command.

    Attributes:
        root: folder of aligned faces with a manifest; by default LIKENESS_DATA/faces.
        dst: the table.
        methods: rows of `evaluate.py`.
        recipes: by which the faces are degraded.
        faces: photographs of each set, drawn from the real ones of `val` that are sharp at 512.
        seeds: degradations of each face.
        draw: seed of the sets.
    """

    root: str = ""
    dst: str = "experiments/figures/table.md"
    methods: list[str] = field(default_factory=lambda: ["input", "expert_t", "expert_f", "prior"])
    recipes: list[str] = field(default_factory=lambda: ["heavy", "gfpgan"])
    faces: int = 20
    seeds: int = 2
    draw: int = 0


def _resized(pixels: Pixels, factor: int) -> Pixels:
    size = pixels.shape[0]
    small = cv2.resize(pixels, (size // factor, size // factor), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (size, size), interpolation=cv2.INTER_CUBIC)


def _noisy(pixels: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    return np.rint(np.clip(pixels + rng.normal(0, sigma, pixels.shape), 0, 255)).astype(np.uint8)


def controls(pixels: Pixels, rng: np.random.Generator) -> dict[str, Pixels]:
    """Degradations that add neither specks nor streaks, by name: HWC uint8 of the same size."""
    variants = {f"blur, sigma {s}": cv2.GaussianBlur(pixels, (0, 0), s) for s in (1, 2, 4)}
    variants |= {f"noise, sigma {s}": _noisy(pixels, s, rng) for s in (5, 10, 20)}
    variants |= {f"JPEG, quality {q}": jpeg(pixels, q) for q in (90, 70, 50)}
    return variants | {f"resized to 1/{f} and back": _resized(pixels, f) for f in (2, 4)}


def figures_of(pictures: Sequence[FloatArray]) -> Values:
    """Specks and streaks of (512, 512, 3) pictures in [0, 1], (N, 2), after rounding to 8 bits."""
    figures = []
    for picture in pictures:
        image = round8(clipped_batch([picture]))
        figures.append(torch.cat((specks.specks(image), streaks.streaks(image))))
    return torch.stack(figures).double().numpy()


def measure(
    pixels: Sequence[Pixels],
    names: Sequence[str],
    methods: Sequence[Method],
    options: FiguresOptions,
    progress: Callable[[Sequence[Sample], str], Any] = lambda samples, name: samples,
) -> dict[str, Values]:
    """Row to the figures of every face, the mean over degradations of it; the first row is the photographs'.

    Args:
        pixels: (512, 512, 3) uint8 photographs.
        names: theirs, from which the degradations are drawn.
        methods: how they are restored.
        options: recipes and seeds.
        progress: wraps the samples of a row, to show progress.
    """
    samples = [Sample(n, "real", resize(p, 256, 256), p) for n, p in zip(names, pixels, strict=True)]
    rows: dict[str, list[Values]] = {"photographs": [figures_of([to_float(p) for p in pixels])]}
    variants = [controls(p, np.random.default_rng([options.draw, i])) for i, p in enumerate(pixels)]
    for name in variants[0]:
        rows[f"photographs, {name}"] = [figures_of([to_float(v[name]) for v in variants])]
    for recipe in options.recipes:
        for method in methods:
            parts = rows[f"`{recipe}`, {method.name}"] = []
            for seed in range(options.seeds):
                figures = []
                for sample in progress(samples, f"{recipe}, {method.name}, {seed + 1} of {options.seeds}"):
                    restored = method.run([degraded_face(sample, recipe, seed)[0]])
                    image = at_both_sizes(method.name, restored, 1)[512][0]
                    figures.append(figures_of([image.permute(1, 2, 0).numpy()]))
                parts.append(np.concatenate(figures))
    return {name: np.mean(parts, axis=0) for name, parts in rows.items()}


def table(rows: Mapping[str, Values]) -> list[str]:
    """Markdown: the mean figures, and their ratios to the first row's, with intervals over faces."""
    truth, *_ = rows.values()
    lines = ["| pictures | specks | over the photographs' | streaks | over the photographs' |", "|---|---|---|---|---|"]
    for name, values in rows.items():
        cells = []
        for k, digits in ((0, 2), (1, 4)):
            cells.append(f"{np.nanmean(values[:, k]):.{digits}f}")
            ratio = bootstrap(lambda a, b: a / b, values[:, k], truth[:, k])
            cells.append("1" if values is truth else interval_text(ratio, ".2f"))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _spread(values: Values) -> str:
    """Mean, median and ninth decile of both figures."""
    parts = []
    for name, column, digits in zip(("specks", "streaks"), values.T, (2, 4), strict=True):
        mean, median, high = np.mean(column), np.median(column), np.quantile(column, 0.9)
        parts.append(f"{name} {mean:.{digits}f} (median {median:.{digits}f}, ninth decile {high:.{digits}f})")
    return ", ".join(parts)


def _sets(records: Sequence[FaceRecord], options: FiguresOptions) -> dict[str, list[FaceRecord]]:
    order = np.random.default_rng(options.draw).permutation(len(records))[: 2 * options.faces]
    chosen = [records[i] for i in order]
    return {"Chosen on": chosen[: options.faces], "Held out": chosen[options.faces :]}


def run(options: FiguresOptions) -> None:
    """Measures, prints and writes.

    Raises:
        ConfigError: for unknown methods or recipes, or no faces or degradations.
        DataError: where no faces are named or there are too few.
        OutputError: if the table cannot be written.
    """
    if options.faces < 1 or options.seeds < 1:
        raise ConfigError(f"faces, seeds: got {options.faces} and {options.seeds}, expected at least 1")
    root = face_folder(options.root)
    records = [r for r in real_faces(root) if r.sharp]
    if len(records) < 2 * options.faces:
        raise DataError(f"faces: {root} has {len(records)} sharp real faces in val, expected {2 * options.faces}")
    methods = METHODS.make(options.methods, MethodContext())

    def progress(samples: Sequence[Sample], name: str) -> Any:
        return track(samples, name, disable=not sys.stderr.isatty())

    lines: list[str] = []
    for name, chosen in _sets(records, options).items():
        pixels = [read_face(root, r, 512) for r in chosen]
        rows = measure(pixels, [r.file for r in chosen], methods, options, progress)
        lines += ["", f"## {name}: {len(chosen)} photographs, {options.seeds} degradations of each", "", *table(rows)]
    every = np.concatenate([figures_of([to_float(read_face(root, r, 512))]) for r in records])
    lines += ["", f"All {len(records)} photographs: {_spread(every)}."]
    facts = {
        "rules": {"specks": asdict(specks.RULE), "streaks": asdict(streaks.RULE)},
        "weights": {k: v for m in methods for k, v in m.weights.items()},
    }
    head = "Specks per 10,000 pixels, streaks as a fraction of the skin; ratios of means [95 % interval over faces]."
    write_markdown(Path(options.dst), "Specks and streaks on skin", [head, *lines], facts)
    print("\n".join(lines))


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(FiguresOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
