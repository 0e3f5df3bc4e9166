"""Windows of skin in an aligned face, for the metrics of skin."""

from __future__ import annotations

import torch
from torch import Tensor

from likeness.errors import InputError
from likeness.metrics.images import check_batch, luma

SIZE = 512
SIDE = 80  # of a window, in pixels; the eyes are 126 px apart
# Upper left corners (x, y): the cheeks below the eyes and beside the nose, and the forehead down to the brows.
CORNERS = ((136, 276), (296, 276), (216, 124))


def skin_windows(images: Tensor, valid: Tensor | None, margin: int) -> tuple[Tensor, Tensor]:
    """Luma of cheeks and forehead.

    Args:
        images: (B, 3, 512, 512) in [0, 1], aligned to `TEMPLATE_512`.
        valid: (B, 1, 512, 512) bool, pixels that count; None = all.
        margin: additional pixels around each window, for filters.

    Returns:
        (B, 3, SIDE + 2 margin, SIDE + 2 margin) luma on the 0..255 scale, and (B, 3, SIDE, SIDE) bool, pixels that
        count.

    Raises:
        InputError: if a shape or type is wrong.
    """
    check_batch(images)
    if images.shape[-2:] != (SIZE, SIZE):
        raise InputError(f"images: got {tuple(images.shape[-2:])} pixels, expected {SIZE} x {SIZE}")
    if valid is None:
        valid = images.new_ones((len(images), 1, SIZE, SIZE), dtype=torch.bool)
    if valid.shape != (len(images), 1, SIZE, SIZE) or valid.dtype != torch.bool:
        expected = (len(images), 1, SIZE, SIZE)
        raise InputError(f"valid: got {tuple(valid.shape)} {valid.dtype}, expected {expected} torch.bool")
    grey = 255 * luma(images.float())
    return _cut(grey, margin), _cut(valid[:, 0], 0)


def _cut(planes: Tensor, margin: int) -> Tensor:
    """(B, 512, 512) to (B, 3, SIDE + 2 margin, SIDE + 2 margin)."""
    spans = [[slice(at - margin, at + SIDE + margin) for at in corner] for corner in CORNERS]
    return torch.stack([planes[:, y, x] for x, y in spans], 1)
