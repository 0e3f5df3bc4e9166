"""Distances between two sets of pictures in a recogniser's feature space.

These are the formulas of the Fréchet Inception distance and the kernel Inception distance, but on features of faces.
The values cannot be compared with published ones of these names.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from likeness.errors import InputError

Features = npt.NDArray[np.float64]


def frechet_distance(a: Features, b: Features) -> float:
    """Fréchet distance of the normal distributions fitted to two sets (Heusel et al., NeurIPS 2017, eq. 6).

    Args:
        a, b: (N, D) and (M, D) features; N and M should be much larger than D.

    Raises:
        InputError: if the sizes of the features differ or a set has fewer than two.
    """
    _check(a, b)
    cov_a, cov_b = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b))
    # The eigenvalues of a product of two covariances are real and not negative, except for rounding.
    roots = np.sqrt(np.linalg.eigvals(cov_a @ cov_b).real.clip(0))
    means = np.square(a.mean(0) - b.mean(0)).sum()
    return float(means + np.trace(cov_a) + np.trace(cov_b) - 2 * roots.sum())


def kernel_distance(a: Features, b: Features) -> float:
    """Squared maximum mean discrepancy, unbiased, with the cubic kernel (Binkowski et al., ICLR 2018, section 4).

    Args:
        a, b: as for `frechet_distance`.

    Returns:
        About 0, and possibly negative, for sets from the same distribution.

    Raises:
        InputError: as for `frechet_distance`.
    """
    _check(a, b)

    def kernel(x: Features, y: Features) -> Features:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def within(x: Features) -> float:
        values = kernel(x, x)
        return float((values.sum() - np.trace(values)) / (len(x) * (len(x) - 1)))

    return within(a) + within(b) - 2 * float(kernel(a, b).mean())


def _check(a: Features, b: Features) -> None:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise InputError(f"features: got {a.shape} and {b.shape}, expected (N, D) and (M, D) with N and M at least 2")
