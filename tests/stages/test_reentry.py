"""Who comes back: nearest first, each once, nobody twice at a time, and not for ever."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from likeness.errors import ConfigError
from likeness.stages.temporal.reentry import Known, ReentryConfig, remember, returned

CONFIG = ReentryConfig(distance=0.4, forget=10)


def at(x: float, y: float = 0.0) -> np.ndarray:
    return np.array([x, y], np.float32)


KNOWN = (Known(0, at(0), Fraction(1)), Known(1, at(1), Fraction(2)), Known(2, at(2), Fraction(3)))


@pytest.mark.parametrize(
    ("fresh", "active", "expected"),
    [
        ({7: at(1.1)}, (), {7: 1}),
        ({7: at(1.45)}, (), {}),  # half-way between two: neither
        ({7: at(0.1), 8: at(0.05)}, (), {8: 0}),  # both look like 0; the nearer one is
        ({7: at(0.1), 8: at(2.1)}, (), {7: 0, 8: 2}),
        ({7: at(0.1)}, (0,), {}),  # 0 is in the picture already
        ({}, (), {}),
    ],
    ids=["near", "between", "two for one", "two", "present", "none"],
)
def test_new_faces_are_known_ones(fresh, active, expected):
    assert returned(fresh, KNOWN, active, CONFIG) == expected


def test_never_where_it_is_switched_off():
    assert returned({7: at(0)}, KNOWN, (), ReentryConfig(distance=0)) == {}


def test_what_is_seen_is_kept_up_to_date_and_the_lost_forgotten():
    found = remember(KNOWN, {1: at(2), 5: at(9)}, Fraction(12), CONFIG)
    assert {k.id for k in found} == {1, 2, 5}  # 0 was seen eleven seconds ago
    by = {k.id: k for k in found}
    assert by[1].embedding == pytest.approx(at(1.3))
    assert (by[1].time, by[2].time, by[5].time) == (12, 3, 12)
    assert KNOWN[1].embedding == pytest.approx(at(1))


def test_memory_does_not_grow():
    known: tuple[Known, ...] = ()
    for i in range(500):
        known = remember(known, {i: at(10 * i)}, Fraction(i, 100), CONFIG)
    assert len(known) == 64
    assert known[-1].id == 499


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ConfigError, match=r"video\.reentry"):
        ReentryConfig(distance=-1)
