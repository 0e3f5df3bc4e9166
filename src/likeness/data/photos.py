"""Degraded photos: of one aligned face at a known width, and whole frames at the scale of their face."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np

from likeness.data.degradations.stills import degrade
from likeness.ops.geometry import EYE_DISTANCE_256, Matrix, rescale_points, scale_of, template
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


def draw_rng(seed: int, recipe: str, name: str) -> np.random.Generator:
    """The generator of a picture's degradation, from seed, recipe and name, so that order and limit do not matter."""
    digest = hashlib.sha256(f"{recipe}/{name}".encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])


def degraded_frame(frame: Pixels, matrix: Matrix, recipe: str, rng: np.random.Generator) -> Pixels:
    """A frame degraded at the scale of its face's 256 crop, for which recipes are stated; at that scale, not its own.

    Args:
        frame: HWC uint8.
        matrix: frame pixels to the crop.
        recipe: a named degradation.
        rng: of the draw.
    """
    (height, width), scale = frame.shape[:2], scale_of(matrix)
    return degrade(resize(frame, round(width * scale), round(height * scale)), recipe, rng)[0]
