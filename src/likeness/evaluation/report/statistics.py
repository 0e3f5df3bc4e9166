"""Bootstrap intervals of means, of paired differences, and of other functions of means.

The percentile bootstrap over images (Efron and Tibshirani 1993, chapter 13). Images are drawn
jointly for all samples of a call, so comparisons are paired; the draw depends on the number of
images and the seed alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from likeness.errors import InputError

Array = npt.NDArray[np.float64]

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its bootstrap interval.

    Attributes:
        value: the figure itself; nan where nothing was measured.
        low, high: ends of the 95 % interval; equal to `value` where that is infinite, nan where none was estimated.
        n: images behind it.
        missing: images left out because a sample is nan there.
    """

    value: float
    low: float
    high: float
    n: int
    missing: int = 0


@lru_cache(maxsize=8)
def _weights(n: int, seed: int, resamples: int) -> Array:
    """How often each of n images is drawn, as fractions: (resamples, n), rows sum to 1."""
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
    return counts / n


def bootstrap(function: Callable[..., Array], *samples: Array, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """The interval of a function of the samples' means.

    Args:
        function: takes one array (R, ...) of means per sample, returns (R,).
        samples: (n, ...) each, one row an image; images with a nan in any sample are left out of all.
        seed: of the draw.
        resamples: number of draws.

    Returns:
        The function of the plain means, with the 2.5th and 97.5th percentile over the draws.

    Raises:
        InputError: if the samples have no or different lengths.
    """
    if not samples or len({len(s) for s in samples}) != 1:
        raise InputError(f"bootstrap: got samples of {[len(s) for s in samples]} images, expected one length")
    total = len(samples[0])
    present = np.ones(total, bool)
    for sample in samples:
        present &= ~np.isnan(sample).any(axis=tuple(range(1, sample.ndim)))
    kept = [np.asarray(s, np.float64)[present] for s in samples]
    n, missing = int(present.sum()), int(total - present.sum())
    if n == 0:
        return Interval(np.nan, np.nan, np.nan, 0, missing)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(function(*(s.mean(0, keepdims=True) for s in kept))[0])
        if not np.isfinite(value) or not all(np.isfinite(s).all() for s in kept):
            return Interval(value, value, value, n, missing)  # an infinite PSNR has no spread
        weights = _weights(n, seed, resamples)
        draws = function(*(np.tensordot(weights, s, 1) for s in kept))
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(draws, (tail, 100 - tail))
    return Interval(value, float(low), float(high), n, missing)


def mean(values: Array, seed: int = 0) -> Interval:
    """Interval of the mean of (n,) values."""
    return bootstrap(lambda m: m, values, seed=seed)


def difference(values: Array, baseline: Array, seed: int = 0) -> Interval:
    """Interval of the paired difference of means, values - baseline, (n,) each."""
    with np.errstate(invalid="ignore"):
        return bootstrap(lambda m: m, values - baseline, seed=seed)


def percent(values: Array, baseline: Array, seed: int = 0) -> Interval:
    """Interval of the change of the mean in percent of the baseline's mean, paired, (n,) each."""
    return bootstrap(lambda m, b: 100 * (m / b - 1), values, baseline, seed=seed)


def wilson(won: int, of: int) -> Interval:
    """A fraction with Wilson's score interval, which stays within 0..1 for few trials too (Wilson, JASA 1927).

    Args:
        won: successes, 0 to `of`.
        of: trials; with none the fraction and its ends are nan.

    Raises:
        InputError: if there are more successes than trials.
    """
    if not 0 <= won <= of:
        raise InputError(f"wilson: got {won} successes of {of}, expected 0 to {of}")
    if of == 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    fraction = won / of
    centre = (fraction + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(fraction * (1 - fraction) / of + z * z / (4 * of * of))
    return Interval(fraction, max(0.0, centre - half), min(1.0, centre + half), of)
