"""Face verification by LFW's View 2 (Huang et al. 2007): do two pictures show one person?

The threshold for each fold comes from the other folds; the accuracy is the mean over the folds with its standard
error. Distances are any number that is small for one person (a cosine enters as its negative).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from likeness.errors import InputError
from likeness.evaluation.benchmarks.lfw import Pair

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Verification:
    """A recogniser's figures on a list of pairs.

    Attributes:
        accuracy: mean over the folds.
        error: its standard error over the folds; nan with one fold.
        area: under the ROC curve, all pairs together.
        accepted: fraction of same pairs that are accepted where at most `false` of the others are.
        false: that fraction.
        correct: (N,) whether each pair was told right at its fold's threshold.
        thresholds: of each fold.
    """

    accuracy: float
    error: float
    area: float
    accepted: float
    false: float
    correct: Flags
    thresholds: tuple[float, ...]


def verify(distances: Array, pairs: Sequence[Pair], false: float = 1e-2) -> Verification:
    """The protocol on (N,) distances.

    Raises:
        InputError: if a distance is missing or no number, or there are fewer than two folds: then no threshold can be
            chosen on other pairs than those it is used on.
    """
    values = np.asarray(distances, np.float64)
    if values.shape != (len(pairs),) or not np.isfinite(values).all():
        raise InputError(f"verify: got distances {values.shape}, expected {len(pairs)} finite ones")
    same = np.array([p.same for p in pairs])
    folds = np.array([p.fold for p in pairs])
    names = np.unique(folds)
    if len(names) < 2:
        raise InputError("verify: got one fold, expected at least two; take the threshold from View 1 instead")
    correct = np.zeros(len(pairs), bool)
    thresholds = []
    for fold in names:
        inside = folds == fold
        thresholds.append(best_threshold(values[~inside], same[~inside]))
        correct[inside] = (values[inside] < thresholds[-1]) == same[inside]
    by_fold = np.array([correct[folds == fold].mean() for fold in names])
    rejected, accepted = roc(values, same)
    return Verification(
        accuracy=float(by_fold.mean()),
        error=float(by_fold.std(ddof=1) / np.sqrt(len(by_fold))),
        area=float(np.trapezoid(accepted, rejected)),
        accepted=float(accepted[rejected <= false].max()),
        false=false,
        correct=correct,
        thresholds=tuple(thresholds),
    )


def best_threshold(distances: Array, same: Flags) -> float:
    """The threshold that tells most pairs right; of equal ones the middle of the widest gap between two distances."""
    order = np.argsort(distances, kind="stable")
    sorted_, is_same = distances[order], same[order]
    # Right when the k nearest pairs are taken for same.
    right = np.concatenate([[0], np.cumsum(is_same)]) + np.concatenate([np.cumsum(~is_same[::-1])[::-1], [0]])
    edges = np.concatenate([[sorted_[0] - 1], sorted_, [sorted_[-1] + 1]])
    gaps = np.diff(edges)
    # Between equal distances there is no threshold.
    score = np.where(gaps > 0, right + gaps / (gaps.max() + 1) / 2, -1.0)
    k = int(score.argmax())
    return float((edges[k] + edges[k + 1]) / 2)


def roc(distances: Array, same: Flags) -> tuple[Array, Array]:
    """The ROC curve: fractions of other pairs and of same pairs below every threshold, both ascending from 0 to 1."""
    order = np.argsort(distances, kind="stable")
    sorted_, is_same = distances[order], same[order]
    ends = np.append(np.flatnonzero(np.diff(sorted_)), len(sorted_) - 1)  # equal distances are taken at once
    accepted = np.concatenate([[0], np.cumsum(is_same)[ends]]) / max(1, int(same.sum()))
    false = np.concatenate([[0], np.cumsum(~is_same)[ends]]) / max(1, int((~same).sum()))
    return false, accepted
