"""Resizing of pictures to a given size."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from likeness.types import FloatArray


def resize(image: npt.NDArray[Any], width: int, height: int) -> npt.NDArray[Any]:
    """An HW or HWC picture of uint8, uint16 or float32 at `width` x `height` pixels, of the same type.

    Pixels are averaged over their area where the width shrinks, else interpolated bicubically. A picture of that size
    is returned as it is.

    Examples:
        >>> resize(np.zeros((40, 30), np.uint8), width=15, height=20).shape
        (20, 15)
    """
    if image.shape[:2] == (height, width):
        return image
    method = cv2.INTER_AREA if width < image.shape[1] else cv2.INTER_CUBIC
    return cv2.resize(image, (width, height), interpolation=method)


def enlarge(image: npt.NDArray[Any], factor: int, interpolation: int = cv2.INTER_CUBIC) -> npt.NDArray[Any]:
    """An HW or HWC picture, `factor` times as large, by an interpolation of OpenCV; factor 1 gives an equal copy."""
    if factor == 1:
        return image.copy()
    height, width = image.shape[:2]
    return cv2.resize(image, (width * factor, height * factor), interpolation=interpolation)


def halve_and_double(image: FloatArray) -> FloatArray:
    """An HW picture without its finest octave: averaged to half the size, then interpolated bicubically."""
    height, width = image.shape
    small = cv2.resize(image, (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
