"""Structural similarity (Wang et al., "Image quality assessment", IEEE TIP 2004)."""

from __future__ import annotations

from typing import cast

import piq
from torch import Tensor

from likeness.metrics.images import check_pair


def ssim(output: Tensor, truth: Tensor) -> Tensor:
    """SSIM on RGB, mean over channels: Gaussian window of 11 pixels and sigma 1.5, full resolution.

    Computed by piq. The image is not downscaled first, as some implementations do above 256 px, so that at 512 px fine
    detail counts.

    Args:
        output: (B, 3, H, W) in [0, 1], sides of at least 11 pixels.
        truth: the same shape.

    Returns:
        (B,) at most 1, higher is better.

    Raises:
        InputError: if shapes differ or values leave [0, 1].

    Examples:
        >>> import torch
        >>> picture = torch.rand(1, 3, 16, 16)
        >>> round(float(ssim(picture, picture)), 4)
        1.0
    """
    check_pair(output, truth)
    values = piq.ssim(output, truth, data_range=1.0, reduction="none", downsample=False)
    return cast(Tensor, values)  # a tuple only if the contrast map is returned, too
