"""Penalties on pixel lattices, the halftone that shuffles and LPIPS leave together."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from likeness.metrics.lattice import axis_power, peak_ratios


def phase_imbalance(image: Tensor, period: int) -> Tensor:
    """How much the fine structure of `image` depends on the position modulo `period`.

    In a photograph it does not: folded over all cells, mean and energy of the high-pass are the same
    at every phase. Upsampling lattices break that. Own construction.

    Args:
        image: (B, C, H, W), H and W multiples of `period`.
        period: cell size in pixels.

    Returns:
        Scalar >= 0: relative variance over the phases of the high-pass energy, plus that of its mean.
    """
    grey = image.float().mean(1, keepdim=True)
    high = grey - F.avg_pool2d(grey, 3, 1, 1, count_include_pad=False)
    batch, _, height, width = high.shape
    cells = high.view(batch, height // period, period, width // period, period)
    energy = cells.square().mean((0, 1, 3))
    mean = cells.mean((0, 1, 3))
    total = energy.mean().clamp(min=1e-8)
    return energy.var(unbiased=False) / total.square() + mean.var(unbiased=False) / total


def spectral_peaks(image: Tensor) -> Tensor:
    """How far the lattice frequencies stand out of the batch's mean spectrum, in logarithms.

    Scale-free, so that soft pictures count as much as sharp ones: there the eye finds a lattice first.

    Args:
        image: (B, 3, S, S), S a multiple of 256.

    Returns:
        Scalar >= 0: mean over both axes and all lattice frequencies of log(ratio), 0 where it is below 1.
    """
    ratios = peak_ratios(axis_power(image.float()).mean(0))
    return ratios.clamp(min=1e-6).log().clamp(min=0).mean().float()
