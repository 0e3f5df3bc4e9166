"""Simulates the photo of one face whose width in the photo is known, from an aligned face."""

from __future__ import annotations

import cv2
import numpy as np

from likeness.data.degradations.stills import degrade
from likeness.ops.geometry import EYE_DISTANCE_256, rescale_points, template
from likeness.ops.resize import resize
from likeness.types import FloatArray, Pixels

# Fraction of undegraded photos that are stored as a camera's JPEG, quality 88-98; this is no degradation.
CAMERA_JPEG = 0.7


def simulate_photo(truth: Pixels, width: float, recipe: str, rng: np.random.Generator) -> tuple[Pixels, FloatArray]:
    """A photo whose face has the given width, degraded by a recipe, and the landmarks in it.

    Recipes are stated for 256 px, so the face is degraded at 256 and resized afterwards, like a large but poor face.
    An undegraded face is resized from the original; most are stored as JPEG.

    Args:
        truth: an aligned face, square HWC uint8.
        width: of the face in pixels of the photo, twice its eye distance.
        recipe: name of a recipe, or "clean".
        rng: source of the degradation.

    Returns:
        Square HWC uint8, and (5, 2) landmarks in its pixels.

    Raises:
        ConfigError: if the recipe is unknown.
    """
    size = max(16, round(256 * width / (2 * EYE_DISTANCE_256)))
    if recipe == "clean":
        photo = resize(truth, size, size)
        if rng.random() < CAMERA_JPEG:
            quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(88, 99))]
            photo = np.asarray(cv2.imdecode(cv2.imencode(".jpg", photo, quality)[1], cv2.IMREAD_COLOR))
    else:
        photo = resize(degrade(resize(truth, 256, 256), recipe, rng)[0], size, size)
    return photo, rescale_points(template(512), size / 512).astype(np.float32)
