"""A painted layer, how layers go onto a picture, and the shapes and textures that they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from likeness.types import FloatArray

Points = npt.NDArray[np.floating]
_SHIFT = 4  # OpenCV draws at 1/16 of a pixel
_VISIBLE = 0.04  # change of brightness from which damage can be seen
_COVERED = 0.35  # part of a pixel from which it is marked


@dataclass(frozen=True)
class Layer:
    """What is painted over a picture.

    Attributes:
        colour: (H, W, 3) float32 in [0, 1].
        alpha: (H, W) opacity, 0..1.
        extent: (H, W) how much of each pixel belongs to the thing, 0..1; a lens belongs to the glasses though it is
            clear.
    """

    colour: FloatArray
    alpha: FloatArray
    extent: FloatArray


def paint(picture: FloatArray, layer: Layer) -> FloatArray:
    """The picture with a layer over it; a new array."""
    alpha = layer.alpha[..., None]
    return np.asarray(picture * (1 - alpha) + layer.colour * alpha, np.float32)


def visible(before: FloatArray, after: FloatArray, extent: FloatArray) -> FloatArray:
    """`extent` where the picture changed enough to be seen, else 0."""
    return np.asarray(extent * (np.abs(after - before).max(2) > _VISIBLE), np.float32)


def label(extents: Sequence[tuple[int, FloatArray]], size: int) -> npt.NDArray[np.uint8]:
    """Classes of layers in the order in which they were painted, at `size` pixels.

    Args:
        extents: class and extent of each layer.
        size: edge of the result.

    Returns:
        (size, size) uint8, 0 where nothing lies.
    """
    labels = np.zeros((size, size), np.uint8)
    for kind, extent in extents:
        small = cv2.resize(extent, (size, size), interpolation=cv2.INTER_AREA)
        labels[small > _COVERED] = kind
    return labels


def fill(size: int, outline: Points) -> FloatArray:
    """(size, size) coverage of a polygon, anti-aliased."""
    canvas = np.zeros((size, size), np.uint8)
    cv2.fillPoly(canvas, [_fixed(outline)], 255, cv2.LINE_AA, _SHIFT)
    return _unit(canvas)


def stroke(size: int, points: Points, width: float, closed: bool = False) -> FloatArray:
    """(size, size) coverage of a line; below one pixel of width it is fainter instead of thinner."""
    canvas = np.zeros((size, size), np.uint8)
    cv2.polylines(canvas, [_fixed(points)], closed, 255, max(1, round(width)), cv2.LINE_AA, _SHIFT)
    return _unit(canvas) * np.float32(min(1.0, max(0.3, width)))


def strokes(
    size: int, lines: Sequence[Points], widths: Sequence[float], values: Sequence[float] | None = None
) -> FloatArray:
    """(size, size) of many lines, later ones on top: their coverage, or a value of 0..1 along each."""
    canvas = np.zeros((size, size), np.uint8)
    for points, width, value in zip(lines, widths, values or [1.0] * len(lines), strict=True):
        cv2.polylines(canvas, [_fixed(points)], False, round(255 * value), max(1, round(width)), cv2.LINE_AA, _SHIFT)
    return _unit(canvas)


def smooth_outline(corners: Points, count: int = 96) -> Points:
    """A closed curve through or near its corners: (count, 2), a periodic cubic B-spline."""
    n, t = len(corners), np.arange(count) * len(corners) / count
    i, u = t.astype(int), (t % 1)[:, None]
    weights = ((1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3)
    return np.asarray(sum(w / 6 * corners[(i + k - 1) % n] for k, w in enumerate(weights)))


def clouds(size: int, cells: int, rng: np.random.Generator) -> FloatArray:
    """(size, size) smooth noise in [0, 1] with about `cells` bumps along an edge."""
    coarse = rng.random((cells + 2, cells + 2)).astype(np.float32)
    return np.clip(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC), 0, 1)


def shaded(size: int, colour: Points, rng: np.random.Generator, depth: float = 0.35) -> FloatArray:
    """(size, size, 3) of one colour under uneven light."""
    light = 1 + depth * (clouds(size, int(rng.integers(1, 4)), rng) - 0.5)
    fine = 1 + 0.05 * (rng.random((size, size)).astype(np.float32) - 0.5)
    return np.clip(np.asarray(colour, np.float32) * (light * fine)[..., None], 0, 1).astype(np.float32)


def random_colour(rng: np.random.Generator) -> Points:
    """An RGB colour, often a muted one."""
    grey = rng.uniform(0.02, 0.98)
    return np.clip(grey + rng.normal(0, rng.choice([0.02, 0.12, 0.3]), 3), 0, 1)


def rounded(coverage: FloatArray, reach: float) -> FloatArray:
    """(H, W) light of a rounded body: 0 at its rim, 1 from `reach` pixels inside."""
    distance = cv2.distanceTransform((coverage > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    return np.sqrt(np.clip(distance / max(reach, 1e-3), 0, 1)).astype(np.float32)


def _unit(canvas: npt.NDArray[np.uint8]) -> FloatArray:
    return canvas.astype(np.float32) / np.float32(255)


def blurred(coverage: FloatArray, sigma: float) -> FloatArray:
    """(H, W) or (H, W, C) after a Gaussian of `sigma` pixels."""
    return np.asarray(cv2.GaussianBlur(coverage, (0, 0), sigma), np.float32)


def _fixed(points: Points) -> npt.NDArray[np.int32]:
    return np.rint(np.asarray(points) * (1 << _SHIFT)).astype(np.int32)
