"""Pictures as network tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from likeness.types import FloatArray


def to_tensor(image: FloatArray) -> Tensor:
    """An HWC float32 picture as (1, C, H, W), sharing its memory where it is contiguous."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]


def stack_crops(crops: Sequence[FloatArray], device: torch.device) -> Tensor:
    """Crops (size, size, 3) of one size as (B, 3, size, size) float32 on `device`."""
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).to(device, torch.float32)


def to_float_tensor(pixels: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 as (B, 3, H, W) float32 in [0, 1], channels last in memory."""
    return pixels.permute(0, 3, 1, 2).float() / 255
