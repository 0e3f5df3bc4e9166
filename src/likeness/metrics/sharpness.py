"""Sharpness: fine contrast of the output relative to the truth."""

from __future__ import annotations

from torch import Tensor

from likeness.metrics.images import check_batch, check_pair, luma
from likeness.ops import filters


def laplacian_variance(images: Tensor) -> Tensor:
    """Variance of the 3 x 3 Laplacian of the luma on the 0..255 scale, inner pixels only.

    Args:
        images: (B, 3, H, W) in [0, 1], sides of at least 4 pixels.

    Returns:
        (B,) population variance.
    """
    check_batch(images)
    return images.new_tensor([filters.laplacian_variance(grey) for grey in (luma(images) * 255).cpu().numpy()])


def sharpness_ratio(output: Tensor, truth: Tensor) -> Tensor:
    """Laplacian variance of the output over that of the truth, at the images' own size.

    Args:
        output: (B, 3, H, W) in [0, 1].
        truth: the same shape.

    Returns:
        (B,): 1 = as sharp as the truth, below 1 softer, above 1 sharper or noisier; infinite or nan for a flat truth.

    Raises:
        InputError: if shapes differ or values leave [0, 1].
    """
    check_pair(output, truth)
    return laplacian_variance(output) / laplacian_variance(truth)
