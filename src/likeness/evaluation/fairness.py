"""Is everybody restored as well: one line a group, and the largest gap by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from likeness.evaluation import tables
from likeness.evaluation.methods import INPUT
from likeness.evaluation.statistics import Interval
from likeness.evaluation.summary import Row


class Gap(NamedTuple):
    """The widest difference between two groups of one kind (real or synthetic).

    Attributes:
        best, worst: the groups.
        by: how far their means lie apart.
    """

    best: str
    worst: str
    by: float


FIGURES = {"distance": ("embedder distance", False), "gain": ("PSNR gain, dB", True)}


def by_group(rows: Sequence[Row], recipe: str, method: str) -> dict[str, dict[str, Interval]]:
    """Group to the embedder distance of the restored faces and to what they gain in PSNR over the input."""
    found: dict[str, dict[str, Interval]] = {}
    for row in rows:
        if (row.recipe, row.method) == (recipe, method):
            group = row.view.partition(",")[0]
            if row.metric == "distance":
                found.setdefault(group, {})["distance"] = row.figure
            if row.metric == "psnr" and row.difference is not None:
                found.setdefault(group, {})["gain"] = row.difference
    return found


def gap(groups: Mapping[str, Mapping[str, Interval]], figure: str, kind: str) -> Gap | None:
    """The largest gap of a figure among the groups of a kind; None for fewer than two."""
    means = {name: f[figure].value for name, f in groups.items() if name.startswith(f"{kind} ") and figure in f}
    if len(means) < 2:
        return None
    high, low = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
    best, worst = (high, low) if FIGURES[figure][1] else (low, high)
    return Gap(best, worst, means[high] - means[low])


def to_markdown(rows: Sequence[Row], facts: Mapping[str, Any]) -> str:
    """A table a recipe and method, with its largest gaps in words."""
    parts = [
        "# By group\n\nMean [95 % bootstrap interval over faces]. A gap is the difference of two groups' means: with "
        "so few faces, and pictures from different sources, part of it is chance and part of it the pictures.\n"
    ]
    pairs = dict.fromkeys((r.recipe, r.method) for r in rows if r.method not in (INPUT, "truth"))
    for recipe, method in pairs:
        groups = by_group(rows, recipe, method)
        lines = ["| group | faces | embedder distance ↓ | PSNR gain, dB ↑ |", "|---|---|---|---|"]
        for name, figures in groups.items():
            distance, gain = figures["distance"], figures.get("gain")
            told = "-" if gain is None else f"{gain.value:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}]"
            lines.append(
                f"| {name} | {distance.n} | {distance.value:.3f} [{distance.low:.3f}, {distance.high:.3f}] | {told} |"
            )
        parts.append(f"## `{recipe}`, {method}\n\n" + "\n".join(lines) + "\n")
        for kind in ("real", "synthetic"):
            for figure, (label, _) in FIGURES.items():
                if found := gap(groups, figure, kind):
                    parts.append(
                        f"Largest gap of the {kind} faces in {label}: {found.by:.3f}, {found.best} best and "
                        f"{found.worst} worst.\n"
                    )
    return "\n".join([*parts, tables.provenance_section(facts)])
