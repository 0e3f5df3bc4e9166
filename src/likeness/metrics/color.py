"""Colour: does the whole picture drift, and do the eyes keep theirs?

In CIE Lab (D65, as scikit-image has it), whose unit is about what an eye can just tell apart.
"""

from __future__ import annotations

import numpy as np
import torch
from skimage.color import rgb2lab
from torch import Tensor

from likeness.metrics.images import check_pair
from likeness.ops.geometry import template

IRIS = 10 / 512  # half the edge of the square over an iris, in shares of the crop's edge


def lab(images: Tensor) -> Tensor:
    """(B, 3, H, W) sRGB in [0, 1] to Lab: L 0..100, a and b about -128..127, float32."""
    pixels = images.detach().permute(0, 2, 3, 1).cpu().numpy()
    return torch.from_numpy(np.asarray(rgb2lab(pixels), np.float32)).permute(0, 3, 1, 2)


def colour_drift(output: Tensor, truth: Tensor) -> Tensor:
    """How far the mean colour moved: (B, 3) absolute differences of the mean L, a and b.

    Args:
        output: (B, 3, S, S) in [0, 1].
        truth: the same shape.

    Raises:
        InputError: if shapes differ or values leave [0, 1].
    """
    check_pair(output, truth)
    return (lab(output).mean((2, 3)) - lab(truth).mean((2, 3))).abs()


def iris_error(output: Tensor, truth: Tensor) -> Tensor:
    """How far the eyes' hue and saturation moved: (B,) distance of the mean (a, b) over an iris, mean of both eyes.

    The irises are taken where alignment puts the eyes; a closed eye or a glance aside is measured all
    the same, for the truth has it in the same place. About 2 can be told apart side by side, 5 at a glance.

    Args:
        output: (B, 3, S, S) in [0, 1], aligned to the FFHQ template.
        truth: the same shape.

    Raises:
        InputError: if shapes differ or values leave [0, 1].
    """
    check_pair(output, truth)
    size = output.shape[-1]
    half = round(IRIS * size)
    errors = []
    for x, y in template(size)[:2].round().astype(int).tolist():
        window = (..., slice(y - half, y + half), slice(x - half, x + half))
        a, b = (lab(images[window])[:, 1:].mean((2, 3)) for images in (output, truth))
        errors.append((a - b).norm(dim=1))
    return torch.stack(errors).mean(0)
