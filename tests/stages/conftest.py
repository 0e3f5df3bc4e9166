"""A portrait with known landmarks, and photographs of it at chosen widths."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from likeness.types import FloatArray, Pixels

# Read off the enlarged picture by eye: pupils, tip of the nose, corners of the mouth.
POINTS = np.array([(203.5, 100.8), (246.5, 103.5), (225.5, 129.0), (204.0, 139.0), (243.5, 143.0)], np.float32)


@pytest.fixture
def portrait() -> Pixels:
    """scikit-image's astronaut, (512, 512, 3) uint8, not to be written to."""
    image = np.ascontiguousarray(astronaut())
    image.setflags(write=False)
    return image


@pytest.fixture
def points() -> FloatArray:
    """(5, 2) landmarks of `portrait`."""
    return POINTS.copy()


@pytest.fixture
def smooth() -> Callable[[int, int], Pixels]:
    """`smooth(height, width)`: a soft colourful background, uint8."""

    def make(height: int, width: int) -> Pixels:
        noise = np.random.default_rng(7).uniform(40, 215, (12, 12, 3)).astype(np.float32)
        return np.rint(np.clip(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), 0, 255)).astype(
            np.uint8
        )

    return make
