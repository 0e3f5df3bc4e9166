"""The identity guard against the independent judge: whom would the guard let pass that the judge does not know?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from likeness.evaluation.scores import TRUTH, Run, Scores
from likeness.evaluation.statistics import Interval, mean
from likeness.metrics.identity import cosine
from likeness.stages.identity import GuardBounds, Recogniser
from likeness.types import Profile

ACCEPTED = "accepted"  # in `Scores.values`: 1 = the guard accepts, 0 = it would pull back, nan = it cannot tell

Accept = Callable[[Tensor], np.ndarray]  # restored faces (B, 3, 256, 256) to (B,) of `ACCEPTED`
Guard = Callable[[Tensor, Sequence[Profile]], Accept]


def make_guard(recogniser: Recogniser, bounds: GuardBounds) -> Guard:
    """What the pipeline's guard says: first it is shown the faces as they were, (B, 3, 256, 256), then restored."""

    @torch.inference_mode()
    def look(crops: Tensor, profiles: Sequence[Profile]) -> Accept:
        before = recogniser.embed_views(crops)
        limits = [bounds.at(profile.sharpness) for profile in profiles]

        @torch.inference_mode()
        def accept(restored: Tensor) -> np.ndarray:
            moved = (before - recogniser.embed_views(restored)).norm(dim=1).tolist()
            return np.array([np.nan if b is None else float(d <= b) for d, b in zip(moved, limits, strict=True)])

        return accept

    return look


@dataclass(frozen=True)
class Guarded:
    """What became of one method's faces.

    Attributes:
        recipe, method: whose.
        accepted: share that the guard accepts, of those it can tell.
        untold: share of all of which it cannot tell.
        deceived: share that it accepts and the judge rejects, of those it can tell.
        rejected: share of all that the judge rejects.
    """

    recipe: str
    method: str
    accepted: Interval
    untold: float
    deceived: Interval
    rejected: Interval


def guarded(scores: Scores, threshold: float, seed: int = 0) -> list[Guarded]:
    """Guard and judge over all methods that were guarded; none without a judge.

    Args:
        scores: with `ACCEPTED` among its values.
        threshold: the judge knows a restored face again where its cosine to the clean one is above this.
        seed: of the bootstrap.
    """
    judged = scores.vectors.get("judged", {})
    if not judged:
        return []
    truth = torch.from_numpy(judged[Run("", TRUTH, 256)])
    rows = []
    for run, table in scores.values.items():
        if ACCEPTED not in table:
            continue
        accepted = table[ACCEPTED]
        rejected = cosine(torch.from_numpy(judged[run]), truth).numpy() <= threshold
        deceived = np.where(np.isnan(accepted), np.nan, accepted * rejected)
        untold = float(np.isnan(accepted).mean())
        figures = (mean(accepted, seed), untold, mean(deceived, seed), mean(rejected.astype(np.float64), seed))
        rows.append(Guarded(run.recipe, run.method, *figures))
    return rows


def to_markdown(rows: Sequence[Guarded], threshold: float) -> str:
    """The section of the table; empty where nothing was guarded."""
    if not rows:
        return ""
    head = [
        "recipe",
        "method",
        "guard accepts %",
        "guard cannot tell %",
        "accepted, judge rejects %",
        "judge rejects %",
    ]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        shares = [_percent(row.accepted), f"{100 * row.untold:.1f}", _percent(row.deceived), _percent(row.rejected)]
        lines.append([row.recipe, row.method, *shares])
    return (
        "## The guard against the judge\n\nThe guard sees the degraded and the restored face, the judge the restored "
        f"and the clean one; it rejects below cosine {threshold:.3f}, where it tells View 2's clean pairs best. Shares "
        "of accepted faces are of those that the guard can tell.\n\n"
        + "".join(f"| {' | '.join(line)} |\n" for line in lines)
    )


def _percent(share: Interval) -> str:
    return f"{100 * share.value:.1f} [{100 * share.low:.1f}, {100 * share.high:.1f}]"
