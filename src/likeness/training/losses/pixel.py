"""Pixel losses that look harder at eyes, nose and mouth."""

from __future__ import annotations

import torch
from torch import Tensor

from likeness.ops.geometry import template


def feature_weights(size: int, extra: float) -> Tensor:
    """Fixed weight map in template coordinates: 1, plus `extra` around eyes, nose and mouth, mean 1.

    Alignment puts the features in the same place in every crop, so no landmarks are needed. The
    bumps are Gaussians with a spread of a quarter (eyes, mouth) or a fifth (nose) of the eye distance.

    Returns:
        (1, 1, size, size) float32.
    """
    points = torch.from_numpy(template(size)).float()
    eye_distance = float(points[1, 0] - points[0, 0])
    mouth = points[3:].mean(0, keepdim=True)
    centres = torch.cat([points[:3], mouth])
    spread = torch.tensor([[0.25, 0.18], [0.25, 0.18], [0.2, 0.2], [0.4, 0.2]]) * eye_distance
    axis = torch.arange(size).float()
    x = torch.exp(-0.5 * ((axis[None] - centres[:, :1]) / spread[:, :1]) ** 2)
    y = torch.exp(-0.5 * ((axis[None] - centres[:, 1:]) / spread[:, 1:]) ** 2)
    bumps = torch.einsum("kh,kw->khw", y, x).amax(0)
    weights = 1 + extra * bumps
    return (weights / weights.mean())[None, None]


def weighted_l1(image: Tensor, truth: Tensor, weights: Tensor, samples: Tensor) -> Tensor:
    """Mean absolute error under a weight map.

    Args:
        image, truth: (B, C, H, W).
        weights: (1, 1, H, W), mean 1.
        samples: (B,) weight of each sample, 0 leaves one out.

    Returns:
        Scalar; 0 where no sample counts.
    """
    error = ((image - truth).abs() * weights).mean((1, 2, 3))
    return (error * samples).sum() / samples.sum().clamp(min=1)
