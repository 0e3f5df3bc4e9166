"""Regions that a picture does not show."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from likeness.data.unknown import KINDS, draw_unknown
from likeness.errors import ConfigError
from likeness.ops.geometry import template


def drawn(kind: str, count: int = 30, size: int = 256) -> np.ndarray:
    return np.stack([draw_unknown(kind, size, np.random.default_rng(seed)) for seed in range(count)])


@pytest.mark.parametrize("kind", KINDS)
def test_regions_cover_some_of_the_face_and_never_most(kind: str) -> None:
    masks = drawn(kind)
    assert masks.dtype == np.bool_
    assert masks.shape == (30, 256, 256)
    covered = masks.mean((1, 2))
    assert 0.005 < covered.mean() < 0.25
    assert covered.max() < 0.4
    assert len({m.tobytes() for m in masks}) > 25
    assert_array_equal(masks, drawn(kind))


WHERE = {"glasses": [0, 1], "mask": [3, 4]}  # eyes, corners of the mouth


@pytest.mark.parametrize("kind", WHERE)
def test_objects_lie_where_a_face_wears_them(kind: str) -> None:
    often = drawn(kind, 60).mean(0)
    covered = {i: often[round(y) - 18 : round(y) + 19, round(x) - 18 : round(x) + 19].mean()
               for i, (x, y) in enumerate(template(256))}  # fmt: skip
    inside = min(covered[i] for i in WHERE[kind])
    outside = max(covered[i] for i in set(range(5)) - set(WHERE[kind]) - {2})
    assert inside > 0.2 > outside


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="got 'moustache', expected one of strokes"):
        draw_unknown("moustache", 64, np.random.default_rng(0))
