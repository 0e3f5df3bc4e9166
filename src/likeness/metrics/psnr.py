"""Peak signal-to-noise ratio."""

from __future__ import annotations

from torch import Tensor

from likeness.metrics.images import check_pair


def psnr(output: Tensor, truth: Tensor) -> Tensor:
    """PSNR over all pixels and the three channels: -10 log10(mean squared error), peak 1.

    Args:
        output: (B, 3, H, W) in [0, 1].
        truth: the same shape.

    Returns:
        (B,) in dB, higher is better; infinite if the images are equal.

    Raises:
        InputError: if shapes differ or values leave [0, 1].

    Examples:
        >>> import torch
        >>> truth = torch.full((1, 3, 8, 8), 0.5)
        >>> round(float(psnr(truth + 0.1, truth)), 3)
        20.0
    """
    check_pair(output, truth)
    return -10 * (output - truth).square().mean((1, 2, 3)).log10()
