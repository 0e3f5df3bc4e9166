"""Colour helpers on plain arrays."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from likeness.types import FloatArray, Pixels


def grey(image: npt.NDArray[np.floating]) -> FloatArray:
    """Luma of an HWC RGB array (ITU-R BT.601), HW float32, in the range of the input."""
    # Not by a matrix product: the threads of numpy's BLAS wait in a loop afterwards, and slow down what follows.
    return np.asarray(cv2.cvtColor(np.asarray(image, np.float32), cv2.COLOR_RGB2GRAY))


def to_float(pixels: Pixels) -> FloatArray:
    """uint8 or uint16 to float32 in [0, 1]."""
    return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)


def to_integer(image: npt.NDArray[np.floating], dtype: npt.DTypeLike = np.uint8) -> Pixels:
    """float in [0, 1] to uint8 or uint16, rounded and clipped.

    Examples:
        >>> to_integer(np.array([-0.1, 0.5, 1.0]))
        array([  0, 128, 255], dtype=uint8)
        >>> to_integer(np.array([0.5]), np.uint16)
        array([32768], dtype=uint16)
    """
    top = np.iinfo(np.dtype(dtype)).max
    return np.rint(np.clip(image, 0, 1) * np.float32(top)).astype(dtype)


def grey8(pixels: Pixels) -> Pixels:
    """HWC frame to HW uint8, the input of the optical flow."""
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
