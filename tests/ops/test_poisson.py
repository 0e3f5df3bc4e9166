"""The Poisson solver against the equation itself."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from likeness.ops.poisson import blend_residual, solve_dirichlet


def laplacian(u: np.ndarray) -> np.ndarray:
    """Five-point Laplacian with zeros outside."""
    padded = np.pad(u, ((1, 1), (1, 1)) + ((0, 0),) * (u.ndim - 2))
    return padded[2:, 1:-1] + padded[:-2, 1:-1] + padded[1:-1, 2:] + padded[1:-1, :-2] - 4 * u


@pytest.mark.parametrize("shape", [(1, 1), (7, 12), (13, 8, 3)])
def test_the_laplacian_of_the_solution_is_the_source(shape: tuple[int, ...]) -> None:
    source = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    assert_allclose(laplacian(solve_dirichlet(source).astype(np.float64)), source, atol=1e-4)


def test_no_residual_changes_nothing() -> None:
    mask = np.random.default_rng(1).uniform(size=(9, 9)).astype(np.float32)
    assert_array_equal(blend_residual(np.zeros((9, 9, 3), np.float32), mask), 0)


def test_an_offset_disappears_and_detail_stays() -> None:
    rng = np.random.default_rng(2)
    detail = np.zeros((60, 60, 3), np.float32)
    detail[28:32, 28:32] = rng.normal(size=(4, 4, 3))
    mask = np.zeros((60, 60), np.float32)
    mask[6:-6, 6:-6] = 1
    before = detail.copy()
    blended = blend_residual(detail + 5, mask)
    # The mask's edge cuts the offset's gradient away: only the detail is left.
    assert_allclose(blended, detail, atol=2e-4)
    assert_array_equal(detail, before)
