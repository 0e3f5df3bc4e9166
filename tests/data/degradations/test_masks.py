"""Masks for inpainting."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from likeness.data.degradations.masks import MASK_KINDS, sample_mask
from likeness.errors import ConfigError
from likeness.ops.geometry import template


def masks_of(kind: str, count: int = 30, size: int = 256) -> np.ndarray:
    return np.stack([sample_mask(kind, size, np.random.default_rng(seed)) for seed in range(count)])


@pytest.mark.parametrize("kind", MASK_KINDS)
def test_masks_cover_a_part_of_the_face_and_are_reproducible(kind: str) -> None:
    masks = masks_of(kind)
    assert masks.dtype == np.bool_
    assert masks.shape == (30, 256, 256)
    covered = masks.mean((1, 2))
    assert 0.005 < covered.mean() < 0.25
    assert covered.max() < 0.4
    assert len({m.tobytes() for m in masks}) > 25
    assert_array_equal(masks, masks_of(kind))


COVERED_LANDMARKS = {"glasses": [0, 1], "face_mask": [3, 4]}  # eyes, corners of the mouth


@pytest.mark.parametrize("kind", COVERED_LANDMARKS)
def test_glasses_cover_the_eyes_and_face_masks_the_mouth(kind: str) -> None:
    frequency = masks_of(kind, 60).mean(0)
    covered = {
        i: frequency[round(y) - 18 : round(y) + 19, round(x) - 18 : round(x) + 19].mean()
        for i, (x, y) in enumerate(template(256))
    }
    inside = min(covered[i] for i in COVERED_LANDMARKS[kind])
    outside = max(covered[i] for i in set(range(5)) - set(COVERED_LANDMARKS[kind]) - {2})
    assert inside > 0.2 > outside


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="got 'moustache', expected one of strokes"):
        sample_mask("moustache", 64, np.random.default_rng(0))
