"""Intervals against scipy, theory, and the rules for missing and infinite values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from likeness.errors import InputError
from likeness.evaluation.report.statistics import bootstrap, difference, mean, percent, wilson


def _draws(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(2, 3, n)


def test_mean_interval_agrees_with_scipys_percentile_bootstrap() -> None:
    values = _draws(300)
    reference = scipy.stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(5)
    ).confidence_interval
    interval = mean(values)
    assert interval.value == pytest.approx(values.mean())
    assert (interval.low, interval.high) == pytest.approx((reference.low, reference.high), abs=0.08)
    assert interval.n == 300
    assert interval.missing == 0


def test_interval_has_the_theoretical_width() -> None:
    values = np.random.default_rng(1).normal(10, 2, 1000)
    interval = mean(values)
    assert (interval.high - interval.low) / 2 == pytest.approx(1.96 * values.std() / math.sqrt(1000), rel=0.08)


def test_paired_difference_is_tighter_than_two_intervals() -> None:
    base = _draws(200)
    better = base + np.random.default_rng(2).normal(0.2, 0.1, 200)
    before = base.copy(), better.copy()
    change = difference(better, base)
    assert mean(better).low < mean(base).high  # the means' own intervals overlap
    assert change.low > 0.15
    assert change.high < 0.25
    assert np.array_equal(base, before[0])
    assert np.array_equal(better, before[1])


def test_percent_is_of_the_mean_not_the_mean_of_percents() -> None:
    base = np.array([1.0, 3.0])
    interval = percent(np.array([2.0, 3.0]), base)
    assert interval.value == pytest.approx(25)
    assert (interval.low, interval.high) == pytest.approx((0, 100))


def test_image_missing_in_one_sample_is_left_out_of_both() -> None:
    interval = difference(np.array([2.0, np.nan, 5.0, 7.0]), np.array([1.0, 1.0, np.nan, 4.0]))
    assert (interval.value, interval.n, interval.missing) == (2.0, 2, 2)


def test_nothing_measured_is_nan_and_infinite_has_no_interval() -> None:
    nothing = mean(np.full(4, np.nan))
    assert math.isnan(nothing.value)
    assert (nothing.n, nothing.missing) == (0, 4)
    infinite = mean(np.array([1.0, np.inf]))
    assert (infinite.value, infinite.low, infinite.high) == (math.inf,) * 3
    assert math.isnan(difference(np.array([np.inf]), np.array([np.inf])).value)


def test_interval_depends_on_the_seed_alone() -> None:
    values = _draws(50)
    assert mean(values, seed=1) == mean(values, seed=1)
    assert mean(values, seed=1) != mean(values, seed=2)


def test_functions_of_mean_vectors() -> None:
    spectra = np.random.default_rng(3).random((100, 2, 5))
    interval = bootstrap(lambda m: m.max((1, 2)), spectra)
    assert interval.value == pytest.approx(spectra.mean(0).max())
    assert interval.low < interval.value < interval.high + 0.05


def test_samples_of_different_lengths_are_refused() -> None:
    with pytest.raises(InputError, match=r"\[2, 3\]"):
        percent(np.ones(2), np.ones(3))


@pytest.mark.parametrize(("won", "of"), [(0, 1), (1, 1), (0, 12), (7, 12), (12, 12), (61, 100), (1, 1000)])
def test_wilson_equals_scipy(won: int, of: int) -> None:
    expected = scipy.stats.binomtest(won, of).proportion_ci(confidence_level=0.95, method="wilson")
    interval = wilson(won, of)
    assert interval.value == won / of
    np.testing.assert_allclose((interval.low, interval.high), (expected.low, expected.high), atol=1e-12)


def test_wilson_of_no_trials_is_nan_and_too_many_successes_are_refused() -> None:
    assert np.isnan([wilson(0, 0).value, wilson(0, 0).low, wilson(0, 0).high]).all()
    with pytest.raises(InputError, match="3 successes of 2"):
        wilson(3, 2)
