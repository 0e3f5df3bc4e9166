"""Does restoring help to recognise? LFW's View 2 with every pair's second picture degraded, then restored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from likeness.evaluation import tables, verification
from likeness.evaluation.methods import INPUT
from likeness.evaluation.scores import TRUTH, Run, Scores
from likeness.evaluation.statistics import Interval
from likeness.evaluation.verification import Pair, Verification
from likeness.metrics.identity import cosine, embedding_distance

CLEAN = "clean pictures"
SIZE = 256


@dataclass(frozen=True)
class Recogniser:
    """One of the two that judge.

    Attributes:
        name: of its vectors in `Scores`.
        label: in tables.
        apart: (N, D) twice to (N,), small for one person.
    """

    name: Literal["embedding", "judged"]
    label: str
    apart: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


RECOGNISERS = (
    Recogniser("embedding", "embedder (a training loss)", embedding_distance),
    Recogniser("judged", "judge (took no part)", lambda a, b: -cosine(a, b)),
)


@dataclass(frozen=True)
class Recognised:
    """What one recogniser makes of one method's pictures.

    Attributes:
        recipe, method, recogniser: what it is of; the method `CLEAN` has no recipe.
        found: the protocol's figures.
        distances: (N,) of the pairs.
        change: of the accuracy in points against the degraded pictures, paired; None for those and the clean ones.
        recovered: share of what degrading cost that restoring brings back; None likewise, or where it cost nothing.
    """

    recipe: str
    method: str
    recogniser: str
    found: Verification
    distances: verification.Array
    change: Interval | None = None
    recovered: float | None = None


def recognise(pairs: Sequence[Pair], scores: Scores, firsts: Scores | None, seed: int = 0) -> list[Recognised]:
    """The protocol for every recipe, method and recogniser.

    Args:
        pairs: of View 2.
        scores: of all second pictures, with every method.
        firsts: of those first pictures that are no second ones, clean; None if there are none.
        seed: of the bootstrap.
    """
    rows: list[Recognised] = []
    for recogniser in RECOGNISERS:
        if recogniser.name not in scores.vectors:
            continue
        runs = scores.vectors[recogniser.name]
        truth = Run("", TRUTH, SIZE)
        clean = dict(zip(scores.names, runs[truth], strict=True))
        if firsts is not None:
            clean |= zip(firsts.names, firsts.vectors[recogniser.name][truth], strict=True)
        first = torch.from_numpy(np.stack([clean[p.first] for p in pairs]))
        place = {name: i for i, name in enumerate(scores.names)}
        seconds = [place[p.second] for p in pairs]
        found: dict[Run, tuple[Verification, verification.Array]] = {}
        for run in runs:
            distances = recogniser.apart(first, torch.from_numpy(runs[run][seconds])).numpy()
            found[run] = verification.verify(distances, pairs), distances
        rows.append(Recognised("", CLEAN, recogniser.label, *found[truth]))
        for run in (r for r in found if r != truth):
            base = found.get(run._replace(method=INPUT))
            row = Recognised(run.recipe, run.method, recogniser.label, *found[run])
            if base is not None and run.method != INPUT:
                change = verification.change(found[run][0], base[0], seed)
                lost = found[truth][0].accuracy - base[0].accuracy
                recovered = (found[run][0].accuracy - base[0].accuracy) / lost if lost > 0 else None
                row = Recognised(run.recipe, run.method, recogniser.label, *found[run], change, recovered)
            rows.append(row)
    return rows


def judge_threshold(rows: Sequence[Recognised]) -> float | None:
    """The cosine above which the judge takes clean pictures for one person, mean over the folds; None without judge."""
    judge = RECOGNISERS[1].label
    found = [row.found.thresholds for row in rows if (row.method, row.recogniser) == (CLEAN, judge)]
    return -float(np.mean(found[0])) if found else None


def to_markdown(rows: Sequence[Recognised], facts: Mapping[str, Any], title: str, section: str = "") -> str:
    """One table a recogniser, then `section`, with the provenance."""
    pairs, folds = len(rows[0].distances), len(rows[0].found.thresholds)
    parts = [
        f"# {title}\n\nView 2, {pairs} pairs in {folds} folds, the second picture of each degraded and restored; the "
        "threshold of a fold comes from the others. Accuracy ± standard error over folds; the change is against "
        f"`{INPUT}`, paired, bootstrapped over pairs, and recovered is its share of what degrading cost.\n"
    ]
    head = ["recipe", "method", "accuracy %", "ROC area", "TAR % at FAR 1 %", "change, points", "recovered"]
    for label in dict.fromkeys(r.recogniser for r in rows):
        lines = [head, ["---"] * len(head)]
        for row in (r for r in rows if r.recogniser == label):
            found, change = row.found, row.change
            lines.append(
                [
                    row.recipe or "-",
                    row.method,
                    f"{100 * found.accuracy:.2f} ± {100 * found.error:.2f}",
                    f"{found.area:.4f}",
                    f"{100 * found.accepted:.2f}",
                    f"{change.value:+.2f} [{change.low:+.2f}, {change.high:+.2f}]" if change else "-",
                    "-" if row.recovered is None else f"{100 * row.recovered:.0f} %",
                ]
            )
        parts.append(f"## {label}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines))
    return "\n".join([*parts, *([section] if section else []), tables.provenance_section(facts)])


def to_csv(rows: Sequence[Recognised], facts: Mapping[str, Any]) -> str:
    """One line a recogniser, recipe and method, below the provenance."""
    lines = []
    for row in rows:
        change = row.change or Interval(np.nan, np.nan, np.nan, 0)
        figures = {
            "accuracy": row.found.accuracy,
            "error": row.found.error,
            "area": row.found.area,
            "accepted_at_1_percent": row.found.accepted,
            "change_points": change.value,
            "change_low": change.low,
            "change_high": change.high,
            "recovered": np.nan if row.recovered is None else row.recovered,
        }
        head = {"recogniser": row.recogniser, "recipe": row.recipe, "method": row.method}
        lines.append(head | {name: tables.figure(float(value)) for name, value in figures.items()})
    return tables.as_csv(lines, facts)


def plot(rows: Sequence[Recognised], pairs: Sequence[Pair], recipe: str, file: Path) -> None:
    """ROC curves of one recipe, a panel a recogniser; the same rows give the same bytes."""
    same = np.array([p.same for p in pairs])
    labels = list(dict.fromkeys(r.recogniser for r in rows))
    figure = Figure(figsize=(5 * len(labels), 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    for panel, label in zip(figure.subplots(1, len(labels), squeeze=False)[0], labels, strict=True):
        for row in (r for r in rows if r.recogniser == label and r.recipe in ("", recipe)):
            panel.plot(*verification.roc(row.distances, same), label=row.method)
        panel.set_xscale("symlog", linthresh=0.01)  # linear up to the false acceptances that the table is read at
        panel.set(xlim=(0, 1), ylim=(0, 1.01), title=label, xlabel="others accepted", ylabel="same accepted")
        panel.legend(loc="lower right")
    figure.suptitle(f"LFW View 2, recipe {recipe}")
    figure.savefig(file, dpi=110, metadata={"Software": None})
