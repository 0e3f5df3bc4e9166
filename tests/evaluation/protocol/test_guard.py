"""The guard against the judge: hand-made faces whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from likeness.evaluation.protocol.guard import ACCEPTED, make_guard
from likeness.evaluation.report.guard import guard_rows, to_markdown
from likeness.evaluation.scores import TRUTH, Run, Scores
from likeness.stages.identity import GuardBounds, distance, embed
from likeness.types import Profile


class Brightness:
    """Embeds a face as its mean colour; the views are those of the embedder's protocol."""

    def embed_aligned(self, crop: Tensor) -> Tensor:
        return crop.mean((2, 3))

    def embed_views(self, crop: Tensor) -> Tensor:
        return self.embed_aligned(crop)


def profile(sharpness: float) -> Profile:
    return Profile(width=80.0, qvol=sharpness, sharpness=sharpness, detail=5.0, noise=1.0, blockiness=1.0)


def test_guard_accepts_rejects_or_is_undecided_by_its_bounds() -> None:
    bounds = GuardBounds((0.0, 100.0, 200.0), (0.3, 0.2, 0.1), (0.25, 0.5, 0.5))
    crops = torch.full((4, 3, 256, 256), 0.5)
    moved = torch.tensor([0.05, 0.15, 0.05, 0.15])[:, None, None, None]
    restored = crops + moved / 3**0.5  # the distance of the mean colours is `moved`
    profiles = [profile(200.0), profile(200.0), profile(0.0), profile(100.0)]
    accepted_by_guard = make_guard(Brightness(), bounds)(crops, restored, profiles)
    # Bounds .1, .1, none (different people lie as close), .2.
    np.testing.assert_array_equal(accepted_by_guard, [1, 0, np.nan, 1])
    one = distance(*(embed(Brightness(), x[1].permute(1, 2, 0).numpy()) for x in (crops, restored)))
    assert one == pytest.approx(0.15, abs=1e-6)


def scores(angles: list[float], accepted: list[float]) -> Scores:
    count = len(angles)
    table = Scores([f"f{i}" for i in range(count)], np.full(count, "lfw"), {256: np.ones(count, bool)})
    place = np.arange(count)
    clean = np.stack([[1.0, 0.0]] * count)
    table.put(Run("", TRUTH, 256), place, {}, {"judged": clean})
    restored = np.stack([[np.cos(a), np.sin(a)] for a in angles])
    table.put(Run("heavy", "mine", 256), place, {ACCEPTED: np.array(accepted)}, {"judged": restored})
    table.put(Run("heavy", "input", 256), place, {}, {"judged": clean})
    return table


def test_false_accepts_are_accepted_faces_that_the_judge_rejects() -> None:
    # Cosines 1, .54, .54, .54, 1; the judge rejects below .6.
    (row,) = guard_rows(scores([0.0, 1.0, 1.0, 1.0, 0.0], [1, 1, 0, np.nan, 1]), 0.6)
    assert (row.recipe, row.method) == ("heavy", "mine")
    assert row.accepted.value == pytest.approx(3 / 4)
    assert row.undecided == pytest.approx(1 / 5)
    assert row.false_accepts.value == pytest.approx(1 / 4)
    assert row.rejected.value == pytest.approx(3 / 5)
    text = to_markdown([row], 0.6)
    assert "| heavy | mine | 75.0 [" in text
    assert "| 20.0 | 25.0 [" in text
    assert "below cosine 0.600" in text


def test_without_a_judge_there_are_no_rows() -> None:
    table = scores([0.0], [1])
    del table.vectors["judged"]
    assert guard_rows(table, 0.6) == []
    assert to_markdown([], 0.6) == ""
