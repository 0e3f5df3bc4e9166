"""Augmentations of the ground truth: crop jitter, exposure and softness."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from likeness.data.degradations.codecs import jpeg, to_uint8
from likeness.types import Pixels


class Jitter(NamedTuple):
    """A similarity about a crop's centre.

    Attributes:
        angle: in degrees.
        scale: factor.
        x, y: shift as a fraction of the crop's size.
    """

    angle: float
    scale: float
    x: float
    y: float

    def matrix(self, size: int) -> np.ndarray:
        """(2, 3) affine matrix for a square of `size` pixels."""
        centre = ((size - 1) / 2, (size - 1) / 2)
        matrix = np.asarray(cv2.getRotationMatrix2D(centre, self.angle, self.scale))
        matrix[:, 2] += np.array((self.x, self.y)) * size
        return matrix


def sample_jitter(rng: np.random.Generator) -> Jitter:
    """Rotates by up to 4 degrees, scales by up to 4 % and shifts by up to 2 %, as landmarks of degraded faces err."""
    return Jitter(float(rng.uniform(-4, 4)), float(rng.uniform(0.96, 1.04)), *rng.uniform(-0.02, 0.02, 2).tolist())


def jitter_crop(image: Pixels, jitter: Jitter) -> Pixels:
    """Applies a jitter to a square crop, HWC uint8; the border is mirrored."""
    size = image.shape[0]
    return cv2.warpAffine(
        np.ascontiguousarray(image),
        jitter.matrix(size),
        (size, size),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT_101,
    )


def jitter_valid(valid: np.ndarray, jitter: Jitter) -> np.ndarray:
    """Applies a jitter to a mask of valid pixels, (S, S) bool; mirrored pixels are not valid."""
    size = valid.shape[0]
    moved = cv2.warpAffine(valid.astype(np.uint8), jitter.matrix(size), (size, size), flags=cv2.INTER_NEAREST)
    return np.asarray(moved > 0)


def change_exposure(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Multiplies by a random exposure (0.4 to 1.15, on encoded values) and a slight tint; HWC uint8, not changed."""
    exposure = math.exp(rng.uniform(math.log(0.4), math.log(1.15)))
    gains = exposure * np.exp(rng.normal(0, 0.04, 3))
    return to_uint8(image * gains)


def soften(image: Pixels, factor: float, rng: np.random.Generator) -> Pixels:
    """Removes fine detail as a soft lens does, or an enlarged file, or both in parts.

    Args:
        image: square HWC uint8, not changed.
        factor: loses as much detail as downscaling by this factor; 1 = none.
        rng: source of the parts, the interpolation and whether the file was a JPEG.

    Returns:
        HWC uint8 of the same size.
    """
    size = image.shape[0]
    # Part of the factor, as an exponent, that is due to the lens: a quarter of the samples each have 0 and 1.
    lens = float(np.clip(rng.uniform(-0.5, 1.5), 0, 1))
    small = round(size / factor ** (1 - lens))
    # A Gaussian of sigma s removes about as much detail as downscaling by sqrt(1 + 4 s^2).
    sigma = 0.5 * (factor ** (2 * lens) - 1) ** 0.5
    out = np.ascontiguousarray(image)
    if sigma > 0:
        out = cv2.GaussianBlur(out, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    if small < size:
        out = cv2.resize(out, (small, small), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.4:
        out = jpeg(out, int(rng.integers(75, 98)))
    enlarge = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)[int(rng.integers(3))]
    return cv2.resize(out, (size, size), interpolation=enlarge) if small < size else out
