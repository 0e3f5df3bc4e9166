"""What the metrics share: checks, rounding to 8 bits, halving and luma."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.errors import InputError

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def check_batch(images: Tensor, name: str = "images") -> None:
    """Raises InputError unless `images` is a non-empty (B, 3, H, W) floating tensor."""
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape or not images.is_floating_point():
        raise InputError(
            f"{name}: got {tuple(images.shape)} {images.dtype}, expected a non-empty floating tensor (B, 3, H, W)"
        )


def check_pair(output: Tensor, truth: Tensor, in_range: bool = True) -> None:
    """Raises InputError unless both are (B, 3, H, W) of one shape and, with `in_range`, within [0, 1]."""
    check_batch(output, "output")
    check_batch(truth, "truth")
    if output.shape != truth.shape:
        raise InputError(
            f"output: got {tuple(output.shape)}, expected the shape of truth, {tuple(truth.shape)}; resize one of them"
        )
    for name, images in (("output", output), ("truth", truth)) if in_range else ():
        low, high = (float(v) for v in images.detach().aminmax())
        if not (low >= 0 and high <= 1):
            raise InputError(
                f"{name}: got values from {low:.4g} to {high:.4g}, expected [0, 1]; clip them or divide by 255"
            )


def round8(images: Tensor) -> Tensor:
    """Clips to [0, 1] and rounds to multiples of 1/255, as an 8-bit file does."""
    return (images.clamp(0, 1) * 255).round() / 255


def halve(images: Tensor) -> Tensor:
    """Mean over 2 x 2 pixels: (B, C, H, W) to (B, C, H/2, W/2).

    Raises:
        InputError: if a side is odd.
    """
    if images.shape[-1] % 2 or images.shape[-2] % 2:
        raise InputError(f"images: got {tuple(images.shape[-2:])} pixels, expected even sides to halve")
    return F.avg_pool2d(images, 2)


def luma(images: Tensor) -> Tensor:
    """BT.601 luma of RGB: (B, 3, H, W) to (B, H, W), in the range of the input."""
    return torch.einsum("bchw,c->bhw", images, images.new_tensor(_LUMA))
