"""The likelihood that trains an expert's confidence."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def laplace_nll(log_scale: Tensor, image: Tensor, truth: Tensor, counted: Tensor | None = None) -> Tensor:
    """Negative log-likelihood of the absolute error under a Laplace distribution of predicted scale.

    -log p = log(2b) + |e| / b with b = exp(log_scale), |e| averaged over each cell. The image is
    detached: stating a large error must not become a way to make one.

    Args:
        log_scale: (B, 1, h, w).
        image, truth: (B, C, H, W), H and W multiples of h and w.
        counted: (B, 1, H, W) bool; cells with another pixel do not count. None = all count.

    Returns:
        Scalar.
    """
    error = (image.detach() - truth).abs().mean(1, keepdim=True)
    error = F.avg_pool2d(error, error.shape[-1] // log_scale.shape[-1])
    bounded = log_scale.clamp(-8, 1)  # 0.0003 .. 2.7: beyond lies no image in [0, 1]
    found = bounded + 0.6931 + error * (-bounded).exp()
    if counted is None:
        return found.mean()
    whole = F.avg_pool2d(counted.float(), counted.shape[-1] // log_scale.shape[-1]) == 1
    return (found * whole).sum() / whole.sum().clamp(min=1)
