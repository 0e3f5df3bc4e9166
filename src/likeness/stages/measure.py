"""Measure: how wide, sharp, noisy and blocky a face is; the router's only input."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from likeness.ops.color import grey
from likeness.ops.filters import laplacian_variance
from likeness.ops.geometry import EYE_DISTANCE_256, invert, resized, scale_of, transform, warp
from likeness.ops.quality import blockiness, detail, noise_sigma
from likeness.types import Crop, FloatArray, Pixels, Profile

QVOL_SIZE = 128


def measure(pixels: Pixels, crop: Crop) -> Profile:
    """Profiles one face.

    Args:
        pixels: the HWC frame it lies in.
        crop: its alignment at 256 (the crop's image is not read, only its matrix).
    """
    matrix = resized(crop.matrix, target=256 / crop.size)
    scale = scale_of(matrix)
    native = int(np.clip(round(256 / scale), 32, 512))
    region = _region(pixels, matrix)
    small = _aligned_grey(region, matrix, QVOL_SIZE)
    sigma = noise_sigma(region.grey)
    qvol = laplacian_variance(small)
    return Profile(
        width=2 * EYE_DISTANCE_256 / scale,
        qvol=qvol,
        sharpness=max(0.0, qvol - noise_gain(scale * QVOL_SIZE / 256) * sigma**2),
        detail=detail(_face_window(_aligned_grey(region, matrix, native))),
        blockiness=blockiness(region.grey),
        noise=sigma,
    )


def noise_gain(scale: float) -> float:
    """What one unit of white noise variance adds to the Laplacian variance after a warp by `scale`.

    Tabulated on a grid of a quarter octave (by warping seeded noise once), interpolated between.
    """
    step = float(np.clip(math.log2(scale), -5, 3)) * 4
    low = math.floor(step)
    fraction = step - low
    return (1 - fraction) * _gain_at(low) + fraction * _gain_at(low + 1)


@lru_cache(maxsize=64)
def _gain_at(step: int) -> float:
    scale = 2.0 ** (step / 4)
    side = min(2048, math.ceil(QVOL_SIZE / scale) + 8)
    noise = np.random.default_rng(0).normal(0, 1, (side, side)).astype(np.float32)
    # A turn by a few degrees: on an unturned grid the interpolation would favour some pixels.
    c, s = scale * math.cos(0.1), scale * math.sin(0.1)
    centre = np.array([side / 2, side / 2])
    linear = np.array([[c, -s], [s, c]])
    out = round(min(QVOL_SIZE, side * scale * 0.8))
    matrix = np.hstack([linear, (np.array([out / 2, out / 2]) - linear @ centre)[:, None]])
    return laplacian_variance(warp(noise, matrix, (max(8, out), max(8, out))))


def _face_window(crop: FloatArray) -> FloatArray:
    """The middle of an aligned crop, brow to mouth: a blurred background says nothing about the face."""
    n = crop.shape[0]
    return crop[round(0.34 * n) : round(0.84 * n), round(0.25 * n) : round(0.75 * n)]


class _Region:
    """Grey source pixels under the crop, 0..255, and where they start."""

    __slots__ = ("grey", "x", "y")

    def __init__(self, image: FloatArray, x: int, y: int) -> None:
        self.grey, self.x, self.y = image, x, y


def _region(pixels: Pixels, matrix: np.ndarray) -> _Region:
    height, width = pixels.shape[:2]
    corners = transform(invert(matrix), np.array([[0, 0], [255, 0], [0, 255], [255, 255]], np.float64))
    x0, y0 = np.clip(np.floor(corners.min(0)).astype(int), 0, [width - 1, height - 1])
    x1, y1 = np.clip(np.ceil(corners.max(0)).astype(int) + 1, [x0 + 1, y0 + 1], [width, height])
    part = pixels[y0:y1, x0:x1]
    top = 257.0 if pixels.dtype == np.uint16 else 1.0
    return _Region(grey(part) / np.float32(top), int(x0), int(y0))


def _aligned_grey(region: _Region, matrix: np.ndarray, size: int) -> FloatArray:
    m = resized(matrix, target=size / 256)
    m[:, 2] += m[:, :2] @ np.array([region.x, region.y])
    return warp(region.grey, m, (size, size))
