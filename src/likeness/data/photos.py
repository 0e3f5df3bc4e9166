"""A photo of one face whose width is known: what the pipeline would meet, made from an aligned face."""

from __future__ import annotations

import cv2
import numpy as np

from likeness.data.faces import resize_face
from likeness.data.recipes import degrade
from likeness.ops.geometry import EYE_DISTANCE_256, rescale_points, template
from likeness.types import FloatArray, Pixels

CAMERA_JPEG = 0.7  # share of undegraded photos stored as a camera does, quality 88-98: no fault in itself


def photo_of(truth: Pixels, width: float, recipe: str, rng: np.random.Generator) -> tuple[Pixels, FloatArray]:
    """A photo whose face has the given width, degraded by a recipe, and its landmarks.

    The recipe's numbers are for 256, so it is applied there; larger faces are enlarged afterwards,
    as a poor large face is. Undegraded ones are shrunk from the original, most stored as JPEG.

    Args:
        truth: an aligned face, square HWC uint8.
        width: w in pixels of the photo.
        recipe: named, or clean.
        rng: draws the degradation.

    Returns:
        Square HWC uint8, and (5, 2) landmarks in its pixels.
    """
    size = max(16, round(256 * width / (2 * EYE_DISTANCE_256)))
    if recipe == "clean":
        photo = resize_face(truth, size)
        if rng.random() < CAMERA_JPEG:
            quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(88, 99))]
            photo = np.asarray(cv2.imdecode(cv2.imencode(".jpg", photo, quality)[1], cv2.IMREAD_COLOR))
    else:
        photo = resize_face(degrade(resize_face(truth, 256), recipe, rng)[0], size)
    return photo, rescale_points(template(512), size / 512).astype(np.float32)
