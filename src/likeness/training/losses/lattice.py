"""A penalty on pixel lattices, the halftone that shuffles and LPIPS leave together."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


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
