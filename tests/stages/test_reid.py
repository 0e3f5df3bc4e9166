"""Re-identification: nearest first, each face once, and only for a limited time."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from likeness.errors import ConfigError
from likeness.stages.temporal.reid import GalleryEntry, ReidConfig, match_lost, update_gallery

CONFIG = ReidConfig(distance=0.4, forget=10)


def at(x: float, y: float = 0.0) -> np.ndarray:
    return np.array([x, y], np.float32)


GALLERY = (
    GalleryEntry(0, at(0), Fraction(1)),
    GalleryEntry(1, at(1), Fraction(2)),
    GalleryEntry(2, at(2), Fraction(3)),
)


@pytest.mark.parametrize(
    ("new", "active", "expected"),
    [
        ({7: at(1.1)}, (), {7: 1}),
        ({7: at(1.45)}, (), {}),  # half-way between two
        ({7: at(0.1), 8: at(0.05)}, (), {8: 0}),  # both are near 0: the nearer one
        ({7: at(0.1), 8: at(2.1)}, (), {7: 0, 8: 2}),
        ({7: at(0.1)}, (0,), {}),  # 0 is visible
        ({}, (), {}),
    ],
    ids=["near", "between", "two for one", "two", "present", "none"],
)
def test_new_faces_match_lost_ones(new, active, expected):
    assert match_lost(new, GALLERY, active, CONFIG) == expected


def test_distance_zero_matches_nothing():
    assert match_lost({7: at(0)}, GALLERY, (), ReidConfig(distance=0)) == {}


def test_update_refreshes_visible_and_forgets_lost_faces():
    updated = update_gallery(GALLERY, {1: at(2), 5: at(9)}, Fraction(12), CONFIG)
    assert {e.id for e in updated} == {1, 2, 5}  # 0 was last seen 11 s ago
    by = {e.id: e for e in updated}
    assert by[1].embedding == pytest.approx(at(1.3))
    assert (by[1].time, by[2].time, by[5].time) == (12, 3, 12)
    assert GALLERY[1].embedding == pytest.approx(at(1))


def test_gallery_does_not_grow():
    gallery: tuple[GalleryEntry, ...] = ()
    for i in range(500):
        gallery = update_gallery(gallery, {i: at(10 * i)}, Fraction(i, 100), CONFIG)
    assert len(gallery) == 64
    assert gallery[-1].id == 499


def test_config_out_of_range_raises():
    with pytest.raises(ConfigError, match=r"video\.reid"):
        ReidConfig(distance=-1)
