"""Gradient magnitude similarity deviation (Xue et al., IEEE TIP 2014, equations 4 and 6)."""

from __future__ import annotations

from typing import cast

import piq
from torch import Tensor

from likeness.metrics.images import check_pair


def gmsd(output: Tensor, truth: Tensor) -> Tensor:
    """GMSD of the luma, computed by piq: Prewitt gradients after a 2 x 2 mean, constant 170 on the 0..255 scale.

    Args:
        output: (B, 3, H, W) in [0, 1].
        truth: the same shape.

    Returns:
        (B,) from 0 (equal), lower is better.

    Raises:
        InputError: if shapes differ or values leave [0, 1].
    """
    check_pair(output, truth)
    return cast(Tensor, piq.gmsd(output, truth, data_range=1.0, reduction="none"))
