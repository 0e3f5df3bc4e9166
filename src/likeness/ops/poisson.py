"""The Poisson equation on a rectangle, solved exactly by a sine transform."""

from __future__ import annotations

import numpy as np
from scipy.fft import dstn, idstn

from likeness.types import FloatArray


def solve_dirichlet(source: FloatArray) -> FloatArray:
    """Solves Laplace(u) = source with u = 0 just outside the rectangle.

    The five-point Laplacian is diagonal in the type-I sine basis, with eigenvalues
    2 cos(pi i / (H + 1)) + 2 cos(pi j / (W + 1)) - 4.

    Args:
        source: (H, W) or (H, W, C) float.

    Returns:
        u, float32 of the same shape.
    """
    height, width = source.shape[:2]
    i = np.cos(np.pi * np.arange(1, height + 1) / (height + 1))[:, None]
    j = np.cos(np.pi * np.arange(1, width + 1) / (width + 1))[None, :]
    eigen = 2 * i + 2 * j - 4
    if source.ndim == 3:
        eigen = eigen[..., None]
    spectrum = dstn(np.asarray(source, np.float64), type=1, axes=(0, 1))
    return idstn(spectrum / eigen, type=1, axes=(0, 1)).astype(np.float32)


def blend_residual(residual: FloatArray, mask: FloatArray) -> FloatArray:
    """Poisson blending of a residual (Perez et al. 2003, eq. 7, on the difference to the background).

    Where the mask is 1 the result has the residual's gradients, outside it has none, and it is 0 at
    the rectangle's border: an offset between face and background disappears, detail stays, and a
    residual of 0 gives exactly 0.

    Args:
        residual: (H, W, C) candidate less background.
        mask: (H, W) in [0, 1].

    Returns:
        (H, W, C) what is to be added to the background.
    """
    mx = np.minimum(mask[:, 1:], mask[:, :-1])[..., None]
    my = np.minimum(mask[1:], mask[:-1])[..., None]
    gx = np.diff(residual, axis=1) * mx
    gy = np.diff(residual, axis=0) * my
    divergence = np.zeros_like(residual)
    divergence[:, :-1] += gx
    divergence[:, 1:] -= gx
    divergence[:-1] += gy
    divergence[1:] -= gy
    return solve_dirichlet(divergence)
