"""Resizing of pictures to a given size."""

from __future__ import annotations

from typing import Any

import cv2
import numpy.typing as npt


def resize(image: npt.NDArray[Any], width: int, height: int) -> npt.NDArray[Any]:
    """An HW or HWC picture of uint8, uint16 or float32 at `width` x `height` pixels, of the same type.

    Pixels are averaged over their area where the width shrinks, else interpolated bicubically. A picture of that size
    is returned as it is.
    """
    if image.shape[:2] == (height, width):
        return image
    method = cv2.INTER_AREA if width < image.shape[1] else cv2.INTER_CUBIC
    return cv2.resize(image, (width, height), interpolation=method)
