"""Distances of sets against torchmetrics, and for normal distributions of known distance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd

from likeness.errors import InputError
from likeness.metrics.feature_sets import frechet_distance, kernel_distance


def drawn(count: int, seed: int, mean: float = 0.0, scale: float = 1.0, size: int = 6) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return mean + scale * rng.normal(size=(count, size)) @ np.random.default_rng(9).normal(size=(size, size))


@pytest.mark.parametrize(("mean", "scale"), [(0, 1), (0.5, 1), (0, 2), (-1, 0.3)])
def test_both_distances_equal_torchmetrics(mean: float, scale: float) -> None:
    a, b = drawn(80, 1), drawn(70, 2, mean, scale)
    moments = [torch.from_numpy(m) for x in (a, b) for m in (x.mean(0), np.cov(x, rowvar=False))]
    assert frechet_distance(a, b) == pytest.approx(float(_compute_fid(*moments)), rel=1e-6)
    even = drawn(80, 3, mean, scale)
    assert kernel_distance(a, even) == pytest.approx(
        float(poly_mmd(torch.from_numpy(a), torch.from_numpy(even))), rel=1e-9
    )


def test_frechet_distance_of_a_moved_or_scaled_set_is_known() -> None:
    a = drawn(50, 1)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + 2) == pytest.approx(4 * a.shape[1])
    # For a set scaled by 2 about its mean it is (1 - 2)^2 times the trace of the covariance.
    wide = 2 * (a - a.mean(0)) + a.mean(0)
    assert frechet_distance(a, wide) == pytest.approx(np.trace(np.cov(a, rowvar=False)))


def test_kernel_distance_within_one_distribution_is_zero_on_average() -> None:
    values = [kernel_distance(drawn(40, s), drawn(40, 100 + s)) for s in range(60)]
    different = kernel_distance(drawn(40, 0), drawn(40, 1, 1.5))
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(60)
    assert different > 3 * np.std(values)


@pytest.mark.parametrize("other", [np.zeros((5, 3)), np.zeros((1, 6)), np.zeros(6)], ids=["size", "one", "flat"])
@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_sets_of_wrong_shape_are_refused(distance, other: np.ndarray) -> None:
    with pytest.raises(InputError, match="expected"):
        distance(drawn(5, 1), other)
