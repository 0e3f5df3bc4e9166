"""Lanczos resampling."""

from __future__ import annotations

import cv2

from likeness.types import Pixels


def enlarge(pixels: Pixels, factor: int) -> Pixels:
    """HWC (or HW) pixels enlarged by 1, 2 or 4; factor 1 returns an equal copy."""
    if factor == 1:
        return pixels.copy()
    height, width = pixels.shape[:2]
    return cv2.resize(pixels, (width * factor, height * factor), interpolation=cv2.INTER_LANCZOS4)
