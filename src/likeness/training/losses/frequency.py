"""Focal frequency loss (Jiang et al., ICCV 2021, eq. 8)."""

from __future__ import annotations

import torch
from torch import Tensor


def focal_frequency(image: Tensor, truth: Tensor, samples: Tensor, alpha: float = 1.0) -> Tensor:
    """Squared spectral difference, in which each frequency is weighted by its error to the power `alpha`.

    It runs in fp32 even under autocast. The frequencies' weights have no gradient and lie in [0, 1] for each sample.

    Args:
        image, truth: (B, C, H, W) in [0, 1].
        samples: (B,) weight of each sample, 0 leaves it out.
        alpha: exponent of the weights.

    Returns:
        Scalar, mean over channels and frequencies; 0 if all samples are left out.
    """
    with torch.autocast(image.device.type, enabled=False):
        difference = torch.fft.rfft2((image - truth).float(), norm="ortho")
        power = difference.real.square() + difference.imag.square()
        weight = power.detach().sqrt().pow(alpha)
        weight = weight / weight.amax((1, 2, 3), keepdim=True).clamp(min=1e-8)
        error = (weight * power).mean((1, 2, 3))
    return (error * samples).sum() / samples.sum().clamp(min=1)
