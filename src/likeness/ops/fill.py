"""Fills unknown pixels smoothly from those around them."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from likeness.types import Pixels


def fill_smoothly(image: Pixels, unknown: npt.NDArray[np.bool_]) -> Pixels:
    """Replaces unknown pixels by a smooth surface over the known ones (pull-push; Gortler et al. 1996, section 3.5).

    Each level of a pyramid holds the mean of the known pixels; what it does not know it takes from the coarser one.

    Args:
        image: HWC uint8; not changed.
        unknown: (H, W).

    Returns:
        The same shape; known pixels are unchanged. Where nothing is known, `image` as it is.
    """
    if not unknown.any() or unknown.all():
        return image.copy()
    known = (~unknown).astype(np.float32)[..., None]
    filled = _pull_push(image.astype(np.float32) * known, known)
    return np.where(unknown[..., None], np.rint(filled).clip(0, 255).astype(np.uint8), image)


def _pull_push(weighted: npt.NDArray[np.float32], weight: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Colours (H, W, 3) of pixels times their weights, and weights (H, W, 1) in [0, 1], to colours everywhere."""
    height, width = weight.shape[:2]
    here = weighted / np.maximum(weight, 1e-6)
    if min(height, width) == 1 or weight.min() >= 1:
        return np.where(weight > 0, here, weighted.sum((0, 1)) / max(float(weight.sum()), 1e-6))
    smaller = ((width + 1) // 2, (height + 1) // 2)
    colours = cv2.resize(weighted, smaller, interpolation=cv2.INTER_AREA)
    weights = cv2.resize(weight, smaller, interpolation=cv2.INTER_AREA)[..., None]
    gain = np.minimum(4 * weights, 1) / np.maximum(weights, 1e-6)  # one known pixel of four is enough
    filled = _pull_push(np.asarray(colours * gain, np.float32), np.asarray(weights * gain, np.float32))
    coarse = cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR)
    return weight * here + (1 - weight) * coarse
