"""Pixel and colour losses that give eyes, nose and mouth a larger weight."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.ops.geometry import feature_bumps


def feature_weights(size: int, extra: float) -> Tensor:
    """Weight map in template coordinates: 1, plus `extra` at eyes, nose and mouth, normalised to a mean of 1.

    Returns:
        (1, 1, size, size) float32.
    """
    bumps = torch.from_numpy(feature_bumps(size)).float().amax(0)
    weights = 1 + extra * bumps
    return (weights / weights.mean())[None, None]


def weighted_l1(image: Tensor, truth: Tensor, weights: Tensor, samples: Tensor) -> Tensor:
    """Mean absolute error under a weight map.

    Args:
        image, truth: (B, C, H, W).
        weights: (1, 1, H, W), mean 1.
        samples: (B,) weight of each sample, 0 leaves it out.

    Returns:
        Scalar; 0 if all samples are left out.
    """
    error = ((image - truth).abs() * weights).mean((1, 2, 3))
    return (error * samples).sum() / samples.sum().clamp(min=1)


# ITU-R BT.601: Cb and Cr from RGB, without the offset, which cancels in differences.
_CHROMA = ((-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def chroma_l1(image: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Mean absolute error of the local means of Cb and Cr under a weight map.

    In RGB the error of luma is far larger than that of colour and dominates the gradient of L1: eyes came out crisp and
    grey. Averaging over cells leaves texture to the other losses.

    Args:
        image, truth: (B, 3, H, W) RGB.
        weights: (1, 1, h, w), mean 1, one weight a cell; H and W are multiples of h and w.

    Returns:
        Scalar.
    """
    with torch.autocast(image.device.type, enabled=False):  # bf16 is too coarse for small colour differences
        cells = F.avg_pool2d(image - truth, image.shape[-1] // weights.shape[-1])
        chroma = torch.einsum("kc,bchw->bkhw", image.new_tensor(_CHROMA), cells)
    return (chroma.abs() * weights).mean()
