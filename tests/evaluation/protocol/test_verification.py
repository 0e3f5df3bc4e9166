"""View 2 on hand-made lists with known answers, and the ROC against scikit-learn's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from likeness.errors import DataError, InputError
from likeness.evaluation.benchmarks.lfw import Pair, read_pairs
from likeness.evaluation.protocol.verification import best_threshold, roc, verify
from likeness.evaluation.report.verification import accuracy_change

TWO_FOLDS = """2 2
Ann 1 2
Bob\t3\t10
Ann 1 Bob 3
Cid 7 Bob 10
Dee 1 2
Eve 5 6
Dee 1 Eve 6
Fay 2 Eve 5
"""


def distances_and_pairs(*folds: tuple[list[float], list[float]]) -> tuple[np.ndarray, list[Pair]]:
    """Distances of same and of other pairs, by fold."""
    rows = [
        (d, same, k) for k, (near, far) in enumerate(folds) for ds, same in ((near, True), (far, False)) for d in ds
    ]
    return np.array([d for d, _, _ in rows]), [Pair("a", "b", same, k) for _, same, k in rows]


def test_list_is_read_fold_by_fold(tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text(TWO_FOLDS)
    pairs = read_pairs(tmp_path / "pairs.txt")
    assert pairs[1] == Pair("Bob_0003", "Bob_0010", True, 0)
    assert pairs[3] == Pair("Cid_0007", "Bob_0010", False, 0)
    assert pairs[4] == Pair("Dee_0001", "Dee_0002", True, 1)
    assert [p.same for p in pairs] == [True, True, False, False] * 2
    (tmp_path / "view1.txt").write_text("1\nAnn 1 2\nAnn 1 Bob 3\n")
    assert [p.fold for p in read_pairs(tmp_path / "view1.txt")] == [0, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: got ''"),
        ("two 2\n", "line 1"),
        (TWO_FOLDS + "Gus 1 2\n", "got 9 pairs, expected 2 folds of 2"),
        (TWO_FOLDS.replace("Ann 1 2", "Ann 1 Bob 2"), "line 2: got 'Ann 1 Bob 2', expected 'name i j'"),
        (TWO_FOLDS.replace("Dee 1 Eve 6", "Dee 1 6"), "line 8: got 'Dee 1 6', expected 'name i name j'"),
        (TWO_FOLDS.replace("Eve 5 6", "Eve 5 six"), "line 7"),
    ],
    ids=["empty", "head", "too many", "not same", "same", "number"],
)
def test_malformed_list_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        read_pairs(tmp_path / "pairs.txt")


def test_threshold_comes_from_the_other_folds() -> None:
    # Fold 0 parts at 1 and fold 1 at 2: each is judged at the other's.
    distances, pairs = distances_and_pairs(([0.5, 0.9], [1.1, 1.8]), ([0.6, 1.9], [2.1, 3.0]))
    result = verify(distances, pairs)
    assert result.thresholds == pytest.approx((2.0, 1.0))
    # At 2 fold 0 takes all four for same: half right. At 1 fold 1 misses the pair at 1.9: three of four.
    assert result.accuracy == pytest.approx((0.5 + 0.75) / 2)
    assert result.error == pytest.approx(np.std([0.5, 0.75], ddof=1) / np.sqrt(2))
    assert result.correct.tolist() == [True, True, False, False, True, False, True, True]


def test_perfect_and_inverted_recognisers_score_one_and_zero() -> None:
    perfect = verify(*distances_and_pairs(([0.1, 0.2], [0.8, 0.9]), ([0.1, 0.2], [0.8, 0.9])))
    assert (perfect.accuracy, perfect.error, perfect.area, perfect.accepted) == (1, 0, 1, 1)
    turned = verify(*distances_and_pairs(([0.8, 0.9], [0.1, 0.2]), ([0.8, 0.9], [0.1, 0.2])))
    assert turned.area == 0
    assert turned.accepted == 0


def test_roc_equals_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    same = rng.random(400) < 0.5
    distances = np.round(rng.normal(np.where(same, 0, 1), 1), 1)  # many equal ones
    false, accepted = roc(distances, same)
    theirs_false, theirs_accepted, _ = roc_curve(same, -distances, drop_intermediate=False)
    np.testing.assert_allclose(false, theirs_false)
    np.testing.assert_allclose(accepted, theirs_accepted)
    pairs = [Pair("a", "b", bool(s), i % 4) for i, s in enumerate(same)]
    result = verify(distances, pairs, false=0.1)
    assert result.area == pytest.approx(roc_auc_score(same, -distances))
    assert result.accepted == pytest.approx(theirs_accepted[theirs_false <= 0.1].max())


def test_best_threshold_equals_exhaustive_search() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        same = rng.random(30) < 0.5
        distances = np.round(rng.normal(np.where(same, 0, 1), 1), 1)
        tried = [((distances < t) == same).mean() for t in np.linspace(-5, 5, 2001)]
        assert ((distances < best_threshold(distances, same)) == same).mean() == pytest.approx(max(tried))


def test_accuracy_change_is_paired() -> None:
    distances, pairs = distances_and_pairs(([0.1] * 50, [0.9] * 50), ([0.1] * 50, [0.9] * 50))
    worse = distances.copy()
    worse[:5] = 0.95  # five same pairs of fold 0 are missed
    result = accuracy_change(verify(distances, pairs), verify(worse, pairs))
    assert result.value == pytest.approx(2.5)
    assert result.low > 0
    assert accuracy_change(verify(distances, pairs), verify(distances, pairs)).value == 0


@pytest.mark.parametrize("wrong", [np.zeros(3), np.full(4, np.nan)], ids=["too few", "no numbers"])
def test_missing_distances_are_refused(wrong: np.ndarray) -> None:
    _, pairs = distances_and_pairs(([0.1], [0.9]), ([0.1], [0.9]))
    with pytest.raises(InputError, match="expected 4 finite ones"):
        verify(wrong, pairs)


def test_one_fold_is_refused() -> None:
    with pytest.raises(InputError, match="View 1"):
        verify(*distances_and_pairs(([0.1], [0.9])))
