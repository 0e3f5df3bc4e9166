"""Scene cuts: whether a new shot begins with this frame."""

from __future__ import annotations

import cv2
import numpy as np

from likeness.types import FloatArray, Pixels

_SIDE = (48, 27)


def thumbnail(pixels: Pixels) -> FloatArray:
    """A 48 x 27 float thumbnail (0..255), all that cut detection keeps of a frame."""
    top = 257.0 if pixels.dtype == np.uint16 else 1.0
    small = cv2.resize(pixels, _SIDE, interpolation=cv2.INTER_AREA).astype(np.float32)
    return small / np.float32(top)


def is_cut(before: FloatArray, now: FloatArray, threshold: float) -> bool:
    """Whether two neighbouring thumbnails differ by more than `threshold` grey levels on average.

    Motion inside a shot stays under 15 at this size; cuts lie mostly above 30.
    """
    return float(np.abs(before - now).mean()) > threshold
