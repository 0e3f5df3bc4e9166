"""Face verification by LFW's View 2 (Huang et al. 2007): are two pictures of one person?

The threshold for each fold comes from the other folds; the accuracy is the mean over the folds with its standard
error. Distances are any number that is small for one person (a cosine enters as its negative).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from likeness.errors import DataError, InputError
from likeness.evaluation.statistics import Interval, difference

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Pair:
    """Two pictures, named as NAME_0001; `fold` counts from 0."""

    first: str
    second: str
    same: bool
    fold: int


@dataclass(frozen=True)
class Verification:
    """What a recogniser makes of a list of pairs.

    Attributes:
        accuracy: mean over the folds.
        error: its standard error over the folds; nan with one fold.
        area: under the ROC curve, all pairs together.
        accepted: share of same pairs that are accepted where at most `false` of the others are.
        false: that share.
        right: (N,) whether each pair was told right at its fold's threshold.
        thresholds: of each fold.
    """

    accuracy: float
    error: float
    area: float
    accepted: float
    false: float
    right: Flags
    thresholds: tuple[float, ...]


def read_pairs(file: Path) -> list[Pair]:
    """The pairs of an LFW list: "FOLDS N" and in each fold N same pairs, then N others; View 1 has "N" alone.

    Raises:
        DataError: if the file is not of that form.
    """
    lines = [line.split() for line in file.read_text().splitlines() if line.strip()]
    head = lines[0] if lines else []
    if not head or len(head) > 2 or not all(word.isdigit() for word in head):
        raise DataError(f"{file}, line 1: got {' '.join(head)!r}, expected 'FOLDS N' or 'N'")
    folds, each = (int(head[0]), int(head[1])) if len(head) == 2 else (1, int(head[0]))
    if len(lines) - 1 != 2 * folds * each:
        raise DataError(f"{file}: got {len(lines) - 1} pairs, expected {folds} folds of {each} same and {each} others")
    pairs = []
    for number, cells in enumerate(lines[1:]):
        fold, place = divmod(number, 2 * each)
        same = place < each
        names = (cells[0], cells[0]) if same else (cells[0], cells[2] if len(cells) == 4 else "")
        indices = cells[1:] if same else cells[1::2]
        if len(cells) != (3 if same else 4) or not all(i.isdigit() for i in indices):
            wanted = "'name i j'" if same else "'name i name j'"
            raise DataError(f"{file}, line {number + 2}: got {' '.join(cells)!r}, expected {wanted}")
        first, second = (f"{name}_{int(i):04d}" for name, i in zip(names, indices, strict=True))
        pairs.append(Pair(first, second, same, fold))
    return pairs


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
    right = np.zeros(len(pairs), bool)
    thresholds = []
    for fold in names:
        inside = folds == fold
        thresholds.append(best_threshold(values[~inside], same[~inside]))
        right[inside] = (values[inside] < thresholds[-1]) == same[inside]
    each = np.array([right[folds == fold].mean() for fold in names])
    rejected, accepted = roc(values, same)
    return Verification(
        accuracy=float(each.mean()),
        error=float(each.std(ddof=1) / np.sqrt(len(each))),
        area=float(np.trapezoid(accepted, rejected)),
        accepted=float(accepted[rejected <= false].max()),
        false=false,
        right=right,
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
    """The ROC curve: shares of other pairs and of same pairs below every threshold, both ascending from 0 to 1."""
    order = np.argsort(distances, kind="stable")
    sorted_, is_same = distances[order], same[order]
    ends = np.append(np.flatnonzero(np.diff(sorted_)), len(sorted_) - 1)  # equal distances are taken at once
    accepted = np.concatenate([[0], np.cumsum(is_same)[ends]]) / max(1, int(same.sum()))
    false = np.concatenate([[0], np.cumsum(~is_same)[ends]]) / max(1, int((~same).sum()))
    return false, accepted


def change(ours: Verification, theirs: Verification, seed: int = 0) -> Interval:
    """Difference of the accuracies in points of percent, bootstrapped over the pairs, which both have seen."""
    points = [100 * v.right.astype(np.float64) for v in (ours, theirs)]
    return difference(points[0], points[1], seed)
