"""What the tests of degradations share."""

from __future__ import annotations

import cv2
import pytest

from likeness.types import Pixels


@pytest.fixture(scope="module")
def face(astronaut_face: Pixels) -> Pixels:
    """(256, 256, 3) uint8."""
    return cv2.resize(astronaut_face, (256, 256), interpolation=cv2.INTER_AREA)
