"""What the metrics share: checks, rounding to 8 bits, halving, luma, and the running mean over images."""

from __future__ import annotations

from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from likeness.errors import InputError

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def check_batch(images: Tensor, name: str = "images") -> None:
    """Raises InputError unless `images` is a non-empty (B, 3, H, W) floating tensor."""
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape or not images.is_floating_point():
        raise InputError(
            f"{name}: got {tuple(images.shape)} {images.dtype}, expected a non-empty floating tensor (B, 3, H, W)"
        )


def check_pair(output: Tensor, truth: Tensor, in_range: bool = True) -> None:
    """Raises InputError unless both are (B, 3, H, W) of one shape and, where asked, within [0, 1]."""
    check_batch(output, "output")
    check_batch(truth, "truth")
    if output.shape != truth.shape:
        raise InputError(f"output is {tuple(output.shape)} but truth is {tuple(truth.shape)}; resize one of them first")
    for name, images in (("output", output), ("truth", truth)) if in_range else ():
        low, high = (float(v) for v in images.detach().aminmax())
        if not (low >= 0 and high <= 1):
            raise InputError(f"{name}: values span {low:.4g} to {high:.4g}, expected [0, 1]; clip, or divide by 255")


def round8(images: Tensor) -> Tensor:
    """Clips to [0, 1] and rounds to multiples of 1/255: what an 8-bit file would keep."""
    return (images.clamp(0, 1) * 255).round() / 255


def halve(images: Tensor) -> Tensor:
    """Mean over 2 x 2 pixels: (B, C, H, W) to (B, C, H/2, W/2).

    Raises:
        InputError: if a side is odd.
    """
    if images.shape[-1] % 2 or images.shape[-2] % 2:
        raise InputError(f"images of {tuple(images.shape[-2:])} pixels cannot be halved; expected even sides")
    return F.avg_pool2d(images, 2)


def luma(images: Tensor) -> Tensor:
    """BT.601 luma of RGB: (B, 3, H, W) to (B, H, W), in the range of the input."""
    return torch.einsum("bchw,c->bhw", images, images.new_tensor(_LUMA))


class ImageMean(Metric):
    """Mean over images of a per-image figure, merged across processes; both inputs are rounded to 8 bits first."""

    is_differentiable = False
    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    @abstractmethod
    def per_image(self, output: Tensor, truth: Tensor) -> Tensor:
        """(B,) figures of two (B, 3, H, W) batches in [0, 1]."""

    @torch.no_grad()
    def update(self, output: Tensor, truth: Tensor) -> None:
        """Adds a batch, (B, 3, H, W) each."""
        values = self.per_image(round8(output.float()), round8(truth.float()))
        self.total += values.double().sum()
        self.count += len(values)

    def compute(self) -> Tensor:
        """The mean so far; nan before the first image."""
        return (self.total / self.count).float()
