"""Colour metrics: drift of the whole picture, and error of the irises.

In CIE Lab (D65, by scikit-image), where a distance of 1 is about the smallest visible difference.
"""

from __future__ import annotations

import numpy as np
import torch
from skimage.color import rgb2lab
from torch import Tensor

from likeness.metrics.images import check_pair
from likeness.ops.geometry import template

IRIS = 10 / 512  # half the edge of the square over an iris, as a fraction of the crop's edge


def lab(images: Tensor) -> Tensor:
    """(B, 3, H, W) sRGB in [0, 1] to Lab: L 0..100, a and b about -128..127, float32."""
    pixels = images.detach().permute(0, 2, 3, 1).cpu().numpy()
    return torch.from_numpy(np.asarray(rgb2lab(pixels), np.float32)).permute(0, 3, 1, 2)


def colour_drift(output: Tensor, truth: Tensor) -> Tensor:
    """Absolute differences of the mean L, a and b.

    Args:
        output: (B, 3, S, S) in [0, 1].
        truth: the same shape.

    Returns:
        (B, 3).

    Raises:
        InputError: if shapes differ or values leave [0, 1].
    """
    check_pair(output, truth)
    return (lab(output).mean((2, 3)) - lab(truth).mean((2, 3))).abs()


def iris_error(output: Tensor, truth: Tensor) -> Tensor:
    """Error of the irises' hue and saturation: distance of the mean (a, b) over an iris, averaged over both eyes.

    The irises are measured at the template's eyes. Closed eyes and glances to the side are measured, too, since truth
    and output show the same. A difference of 2 is visible side by side, one of 5 at a glance.

    Args:
        output: (B, 3, S, S) in [0, 1], aligned to the FFHQ template.
        truth: the same shape.

    Returns:
        (B,), lower is better.

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
