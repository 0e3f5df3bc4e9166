"""The identity guard against the independent judge: how often does the guard accept what the judge rejects?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from likeness.evaluation.benchmarks.base import CROP
from likeness.evaluation.protocol.guard import ACCEPTED
from likeness.evaluation.report.statistics import Interval, mean
from likeness.evaluation.scores import TRUTH, Run, Scores
from likeness.metrics.identity import cosine


@dataclass(frozen=True)
class GuardRow:
    """The guard's and the judge's decisions on one method's faces.

    Attributes:
        recipe, method: of the faces.
        accepted: fraction that the guard accepts, of those that it decides.
        undecided: fraction of all that it does not decide.
        false_accepts: fraction that it accepts and the judge rejects, of those that it decides.
        rejected: fraction of all that the judge rejects.
    """

    recipe: str
    method: str
    accepted: Interval
    undecided: float
    false_accepts: Interval
    rejected: Interval


def guard_rows(scores: Scores, threshold: float, seed: int = 0) -> list[GuardRow]:
    """A row for each method that the guard ran on; none without a judge.

    Args:
        scores: with `ACCEPTED` among its values.
        threshold: the judge accepts a restored face if its cosine to the clean one is above this.
        seed: of the bootstrap.
    """
    judged = scores.vectors.get("judged", {})
    if not judged:
        return []
    truth = torch.from_numpy(judged[Run("", TRUTH, CROP)])
    rows = []
    for run, table in scores.values.items():
        if ACCEPTED not in table:
            continue
        accepted = table[ACCEPTED]
        rejected = cosine(torch.from_numpy(judged[run]), truth).numpy() <= threshold
        false_accepts = np.where(np.isnan(accepted), np.nan, accepted * rejected)
        undecided = float(np.isnan(accepted).mean())
        figures = mean(accepted, seed), undecided, mean(false_accepts, seed), mean(rejected.astype(np.float64), seed)
        rows.append(GuardRow(run.recipe, run.method, *figures))
    return rows


def to_markdown(rows: Sequence[GuardRow], threshold: float) -> str:
    """The section of the table; empty where the guard did not run."""
    if not rows:
        return ""
    head = ["recipe", "method", "guard accepts %", "guard undecided %", "accepted, judge rejects %", "judge rejects %"]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        cells = [_percent(row.accepted), f"{100 * row.undecided:.1f}", _percent(row.false_accepts)]
        lines.append([row.recipe, row.method, *cells, _percent(row.rejected)])
    return (
        "## The guard against the judge\n\nThe guard compares the degraded and the restored face, the judge the "
        f"restored and the clean one. The judge rejects below cosine {threshold:.3f}, its best threshold on View 2's "
        "clean pairs. Fractions of accepted faces are of those that the guard decides.\n\n"
        + "".join(f"| {' | '.join(line)} |\n" for line in lines)
    )


def _percent(fraction: Interval) -> str:
    return f"{100 * fraction.value:.1f} [{100 * fraction.low:.1f}, {100 * fraction.high:.1f}]"
