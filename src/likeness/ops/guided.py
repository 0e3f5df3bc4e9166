"""The guided filter: smooths a mask along the edges of a picture."""

from __future__ import annotations

import cv2
import numpy as np

from likeness.types import FloatArray


def guided_filter(guide: FloatArray, image: FloatArray, radius: int, epsilon: float = 1e-3) -> FloatArray:
    """Filters `image` as a local linear function of `guide` (He et al., ECCV 2010, equations 5, 6 and 8).

    Args:
        guide: (H, W) float32 in [0, 1], whose edges are kept.
        image: (H, W) float32.
        radius: of the windows in pixels.
        epsilon: contrast of the guide, squared, below which is smoothed.

    Returns:
        (H, W) float32.
    """

    def mean(x: FloatArray) -> FloatArray:
        size = (2 * radius + 1, 2 * radius + 1)
        return np.asarray(cv2.blur(x, size, borderType=cv2.BORDER_REFLECT_101), np.float32)

    of_guide, of_image = mean(guide), mean(image)
    slope = (mean(guide * image) - of_guide * of_image) / (mean(guide * guide) - of_guide**2 + np.float32(epsilon))
    offset = of_image - slope * of_guide
    return np.asarray(mean(slope) * guide + mean(offset), np.float32)
