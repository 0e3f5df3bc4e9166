"""The fairness benchmark's page: one line a group, and the largest gap by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from likeness.evaluation.methods.base import INPUT
from likeness.evaluation.report import tables
from likeness.evaluation.report.statistics import Interval
from likeness.evaluation.report.summary import Row
from likeness.evaluation.scores import TRUTH


class Gap(NamedTuple):
    """The widest difference between two groups of one kind (real or synthetic).

    Attributes:
        best, worst: the groups.
        size: the difference of their means.
    """

    best: str
    worst: str
    size: float


FIGURES = {"distance": ("embedder distance", False), "gain": ("PSNR gain, dB", True)}  # label; larger is better


def by_group(rows: Sequence[Row], recipe: str, method: str) -> dict[str, dict[str, Interval]]:
    """Group to the embedder distance of the restored faces and to their gain in PSNR over the input."""
    groups: dict[str, dict[str, Interval]] = {}
    for row in rows:
        if (row.recipe, row.method) == (recipe, method):
            group = row.view.partition(",")[0]
            if row.metric == "distance":
                groups.setdefault(group, {})["distance"] = row.figure
            if row.metric == "psnr" and row.difference is not None:
                groups.setdefault(group, {})["gain"] = row.difference
    return groups


def largest_gap(groups: Mapping[str, Mapping[str, Interval]], figure: str, kind: str) -> Gap | None:
    """The largest gap of a figure among the groups of a kind; None for fewer than two."""
    means = {name: f[figure].value for name, f in groups.items() if name.startswith(f"{kind} ") and figure in f}
    if len(means) < 2:
        return None
    high, low = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
    best, worst = (high, low) if FIGURES[figure][1] else (low, high)
    return Gap(best, worst, means[high] - means[low])


def to_markdown(rows: Sequence[Row], facts: Mapping[str, Any]) -> str:
    """A table a recipe and method, and its largest gaps in words."""
    parts = [
        "# By group\n\nMean [95 % bootstrap interval over faces]. A gap is the difference of two groups' means. With "
        "so few faces, and pictures from different sources, part of it is due to chance and to the pictures.\n"
    ]
    pairs = dict.fromkeys((r.recipe, r.method) for r in rows if r.method not in (INPUT, TRUTH))
    for recipe, method in pairs:
        groups = by_group(rows, recipe, method)
        lines = ["| group | faces | embedder distance ↓ | PSNR gain, dB ↑ |", "|---|---|---|---|"]
        for name, figures in groups.items():
            distance = tables.interval_text(figures["distance"], ".3f")
            gain = tables.interval_text(figures.get("gain"), "+.2f")
            lines.append(f"| {name} | {figures['distance'].n} | {distance} | {gain} |")
        parts.append(f"## `{recipe}`, {method}\n\n" + "\n".join(lines) + "\n")
        for kind in ("real", "synthetic"):
            for figure, (label, _) in FIGURES.items():
                if gap := largest_gap(groups, figure, kind):
                    parts.append(
                        f"Largest gap of the {kind} faces in {label}: {gap.size:.3f}, {gap.best} best and "
                        f"{gap.worst} worst.\n"
                    )
    return "\n".join([*parts, tables.provenance_section(facts)])
