"""Arrays as network tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from likeness.types import FloatArray


def to_tensor(image: FloatArray) -> Tensor:
    """An HWC float32 picture as (1, C, H, W), sharing its memory where it is contiguous."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
