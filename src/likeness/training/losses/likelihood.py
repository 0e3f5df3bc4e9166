"""The likelihood that trains an expert's confidence head."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def laplace_nll(log_scale: Tensor, image: Tensor, truth: Tensor, valid: Tensor | None = None) -> Tensor:
    """Negative log-likelihood of the absolute error under a Laplace distribution of predicted scale.

    -log p = log(2b) + |e| / b with b = exp(log_scale) and |e| averaged over each cell. The image is detached, so that a
    large predicted scale does not excuse a large error.

    Args:
        log_scale: (B, 1, h, w).
        image, truth: (B, C, H, W), H and W multiples of h and w.
        valid: (B, 1, H, W) bool; cells with an invalid pixel do not count. None = all count.

    Returns:
        Scalar.
    """
    error = (image.detach() - truth).abs().mean(1, keepdim=True)
    error = F.avg_pool2d(error, error.shape[-1] // log_scale.shape[-1])
    bounded = log_scale.clamp(-8, 1)  # 0.0003..2.7; errors of images in [0, 1] are not larger
    nll = bounded + 0.6931 + error * (-bounded).exp()
    if valid is None:
        return nll.mean()
    valid_cells = F.avg_pool2d(valid.float(), valid.shape[-1] // log_scale.shape[-1]) == 1
    return (nll * valid_cells).sum() / valid_cells.sum().clamp(min=1)
