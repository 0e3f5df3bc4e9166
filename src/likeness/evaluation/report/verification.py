"""Verification on LFW's View 2 with every pair's second picture degraded, then restored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from likeness.evaluation.benchmarks.base import CROP
from likeness.evaluation.benchmarks.lfw import Pair
from likeness.evaluation.methods.base import INPUT
from likeness.evaluation.protocol.verification import Array, Verification, roc, verify
from likeness.evaluation.report import tables
from likeness.evaluation.report.statistics import Interval, difference
from likeness.evaluation.scores import TRUTH, Run, Scores
from likeness.metrics.identity import cosine, embedding_distance

CLEAN = "clean pictures"


@dataclass(frozen=True)
class Recogniser:
    """One of the two recognisers.

    Attributes:
        name: of its vectors in `Scores`.
        label: in tables.
        distance: (N, D) twice to (N,), small for one person.
    """

    name: Literal["embedding", "judged"]
    label: str
    distance: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


RECOGNISERS = (
    Recogniser("embedding", "embedder (a training loss)", embedding_distance),
    Recogniser("judged", "judge (took no part)", lambda a, b: -cosine(a, b)),
)


@dataclass(frozen=True)
class VerificationRow:
    """One recogniser's figures on one method's pictures.

    Attributes:
        recipe, method, recogniser: what they are of; the method `CLEAN` has no recipe.
        result: the protocol's figures.
        distances: (N,) of the pairs.
        change: of the accuracy in points against the degraded pictures, paired; None for those and the clean ones.
        recovered: fraction of the accuracy lost by degrading that restoring recovers; None likewise, or where nothing
            was lost.
    """

    recipe: str
    method: str
    recogniser: str
    result: Verification
    distances: Array
    change: Interval | None = None
    recovered: float | None = None


def verification_rows(
    pairs: Sequence[Pair], scores: Scores, firsts: Scores | None, seed: int = 0
) -> list[VerificationRow]:
    """The protocol for every recipe, method and recogniser.

    Args:
        pairs: of View 2.
        scores: of all second pictures, by every method.
        firsts: of those first pictures that are no second ones, clean; None if there are none.
        seed: of the bootstrap.
    """
    rows: list[VerificationRow] = []
    for recogniser in RECOGNISERS:
        if recogniser.name not in scores.vectors:
            continue
        runs = scores.vectors[recogniser.name]
        truth = Run("", TRUTH, CROP)
        clean = dict(zip(scores.names, runs[truth], strict=True))
        if firsts is not None:
            clean |= zip(firsts.names, firsts.vectors[recogniser.name][truth], strict=True)
        first = torch.from_numpy(np.stack([clean[p.first] for p in pairs]))
        place = {name: i for i, name in enumerate(scores.names)}
        seconds = [place[p.second] for p in pairs]
        results: dict[Run, tuple[Verification, Array]] = {}
        for run in runs:
            distances = recogniser.distance(first, torch.from_numpy(runs[run][seconds])).numpy()
            results[run] = verify(distances, pairs), distances
        rows.append(VerificationRow("", CLEAN, recogniser.label, *results[truth]))
        for run in (r for r in results if r != truth):
            base = results.get(run._replace(method=INPUT))
            row = VerificationRow(run.recipe, run.method, recogniser.label, *results[run])
            if base is not None and run.method != INPUT:
                change = accuracy_change(results[run][0], base[0], seed)
                lost = results[truth][0].accuracy - base[0].accuracy
                recovered = (results[run][0].accuracy - base[0].accuracy) / lost if lost > 0 else None
                row = VerificationRow(run.recipe, run.method, recogniser.label, *results[run], change, recovered)
            rows.append(row)
    return rows


def accuracy_change(ours: Verification, theirs: Verification, seed: int = 0) -> Interval:
    """Difference of two accuracies in percentage points, bootstrapped over the pairs, which are the same."""
    points = [100 * v.correct.astype(np.float64) for v in (ours, theirs)]
    return difference(points[0], points[1], seed)


def judge_threshold(rows: Sequence[VerificationRow]) -> float | None:
    """The cosine above which the judge accepts a pair of clean pictures, mean over the folds; None without judge."""
    judge = RECOGNISERS[1].label
    thresholds = [row.result.thresholds for row in rows if (row.method, row.recogniser) == (CLEAN, judge)]
    return -float(np.mean(thresholds[0])) if thresholds else None


def to_markdown(rows: Sequence[VerificationRow], facts: Mapping[str, Any], title: str, section: str = "") -> str:
    """One table a recogniser, then `section`, and the provenance."""
    pairs, folds = len(rows[0].distances), len(rows[0].result.thresholds)
    parts = [
        f"# {title}\n\nView 2, {pairs} pairs in {folds} folds, the second picture of each degraded and restored; the "
        "threshold of a fold comes from the others. Accuracy ± standard error over folds; the change is against "
        f"`{INPUT}`, paired, bootstrapped over pairs, and recovered is its fraction of what degrading cost.\n"
    ]
    head = ["recipe", "method", "accuracy %", "ROC area", "TAR % at FAR 1 %", "change, points", "recovered"]
    for label in dict.fromkeys(r.recogniser for r in rows):
        lines = [head, ["---"] * len(head)]
        for row in (r for r in rows if r.recogniser == label):
            result = row.result
            lines.append(
                [
                    row.recipe or "-",
                    row.method,
                    f"{100 * result.accuracy:.2f} ± {100 * result.error:.2f}",
                    f"{result.area:.4f}",
                    f"{100 * result.accepted:.2f}",
                    tables.interval_text(row.change, "+.2f"),
                    "-" if row.recovered is None else f"{100 * row.recovered:.0f} %",
                ]
            )
        parts.append(f"## {label}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines))
    return "\n".join([*parts, *([section] if section else []), tables.provenance_section(facts)])


def to_csv(rows: Sequence[VerificationRow], facts: Mapping[str, Any]) -> str:
    """One line a recogniser, recipe and method, below the provenance."""
    lines = []
    for row in rows:
        change = row.change or Interval(np.nan, np.nan, np.nan, 0)
        figures = {
            "accuracy": row.result.accuracy,
            "error": row.result.error,
            "area": row.result.area,
            "accepted_at_1_percent": row.result.accepted,
            "change_points": change.value,
            "change_low": change.low,
            "change_high": change.high,
            "recovered": np.nan if row.recovered is None else row.recovered,
        }
        head = {"recogniser": row.recogniser, "recipe": row.recipe, "method": row.method}
        lines.append(head | {name: tables.figure(float(value)) for name, value in figures.items()})
    return tables.as_csv(lines, facts)


def plot(rows: Sequence[VerificationRow], pairs: Sequence[Pair], recipe: str, file: Path) -> None:
    """ROC curves of one recipe, a panel a recogniser; the same rows give the same bytes."""
    same = np.array([p.same for p in pairs])
    labels = list(dict.fromkeys(r.recogniser for r in rows))
    figure = Figure(figsize=(5 * len(labels), 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    for panel, label in zip(figure.subplots(1, len(labels), squeeze=False)[0], labels, strict=True):
        for row in (r for r in rows if r.recogniser == label and r.recipe in ("", recipe)):
            panel.plot(*roc(row.distances, same), label=row.method)
        panel.set_xscale("symlog", linthresh=0.01)  # linear up to the false acceptances that the table is read at
        panel.set(xlim=(0, 1), ylim=(0, 1.01), title=label, xlabel="others accepted", ylabel="same accepted")
        panel.legend(loc="lower right")
    figure.suptitle(f"LFW View 2, recipe {recipe}")
    figure.savefig(file, dpi=110, metadata={"Software": None})
