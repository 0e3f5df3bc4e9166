"""Penalty on dots that a network paints where the truth has none."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.metrics.images import luma

SIGMA = 1.5  # pixels at 512: the dots are 4 px wide
CONTRAST = 2.0  # grey levels
# Smallest determinant of the Hessian over that of a round dot of the same trace. A line has 0, an edge less.
ROUNDNESS = 0.6
_FILL = 4.0  # pixels: sigma of the Gaussian that reads a dot's surroundings
_NEAR = 8  # pixels: a dot of the truth excuses those of the output so near
# The eyes (x, y, width, height at 512): catch-lights and lashes are round too.
_EYES = ((138, 205, 110, 70), (264, 205, 110, 70))


def find_dots(image: Tensor) -> Tensor:
    """Pixels of round dots, dark or light, also where they stand close together.

    A dot is where both curvatures of the smoothed luma have the same sign and a similar size (the Hessian's
    determinant and trace; Lindeberg 1998).

    Args:
        image: (B, 3, H, W) in [0, 1].

    Returns:
        (B, 1, H, W) bool.
    """
    kernels = _hessian().to(image.device)
    grey = F.pad(255 * luma(image.float())[:, None], [kernels.shape[-1] // 2] * 4, mode="replicate")
    xx, yy, xy = F.conv2d(grey, kernels).split(1, 1)
    trace, determinant = xx + yy, xx * yy - xy.square()
    return (trace.abs() > CONTRAST) & (determinant > ROUNDNESS * (trace / 2).square())


def invented_dots(image: Tensor, truth: Tensor, valid: Tensor, counted: Tensor) -> Tensor:
    """Squared difference between dots that the truth does not have and their surroundings. Not from a paper.

    Dots at the eyes do not count.

    Args:
        image, truth: (B, 3, 512, 512) in [0, 1].
        valid: (B, 1, 512, 512) bool; pixels outside do not count.
        counted: (B,) bool, faces that count; their truth must be sharp at 512.

    Returns:
        Scalar: the sum over the dots' pixels, per 10,000 pixels of the faces that count, 0 or more.
    """
    with torch.no_grad(), torch.autocast(image.device.type, enabled=False):
        image32 = image.detach().float()
        excused = F.max_pool2d(find_dots(truth).float(), 2 * _NEAR + 1, 1, _NEAR)
        for x, y, width, height in _EYES:
            excused[..., y : y + height, x : x + width] = 1
        counts = (1 - excused) * (valid & counted[:, None, None, None])
        dots = F.max_pool2d(find_dots(image32).float(), 3, 1, 1) * counts
        rest = 1 - dots
        around = _blur(image32 * rest) / _blur(rest).clamp_min(1e-3)
    error = ((image.float() - around).square() * dots).sum()
    return 10_000 * error / (image[0].numel() * counted.sum().clamp_min(1))


def _hessian() -> Tensor:
    """(3, 1, K, K): sigma^2 times the second derivatives xx, yy and xy of a Gaussian."""
    radius = math.ceil(4 * SIGMA)
    axis = torch.arange(-radius, radius + 1, dtype=torch.float64)
    gauss = torch.exp(-0.5 * (axis / SIGMA) ** 2)
    gauss /= gauss.sum()
    first = axis / SIGMA * gauss
    second = (axis.square() / SIGMA**2 - 1) * gauss
    second -= second.mean()
    kernels = (gauss[:, None] * second, second[:, None] * gauss, first[:, None] * first)
    return torch.stack(kernels)[:, None].float()


def _blur(image: Tensor) -> Tensor:
    radius = math.ceil(2 * _FILL)
    axis = torch.arange(-radius, radius + 1, dtype=torch.float32, device=image.device)
    gauss = torch.exp(-0.5 * (axis / _FILL) ** 2)
    gauss /= gauss.sum()
    planes = image.flatten(0, 1)[:, None]
    planes = F.conv2d(planes, gauss[None, None, None], padding=(0, radius))
    return F.conv2d(planes, gauss[None, None, :, None], padding=(radius, 0)).view_as(image)
