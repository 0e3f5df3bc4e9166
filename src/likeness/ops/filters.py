"""Small filters on grey pictures."""

from __future__ import annotations

import cv2
import numpy as np

from likeness.types import FloatArray

_LAPLACIAN = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], np.float32)
_IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


def laplacian_variance(image: FloatArray) -> float:
    """Variance of the 4-neighbour Laplacian of an HW float32 image, inner pixels only, in the image's units squared."""
    return float(cv2.filter2D(image, cv2.CV_32F, _LAPLACIAN)[1:-1, 1:-1].var())


def noise_response(image: FloatArray) -> FloatArray:
    """Absolute response of an HW float32 image to Immerkaer's mask (CVIU 1996), HW; white noise of sigma 1 gives 6.

    The mask is blind to planes and straight ramps.
    """
    return np.abs(cv2.filter2D(image, cv2.CV_32F, _IMMERKAER))
