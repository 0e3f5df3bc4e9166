"""Align: a similarity from five landmarks to the FFHQ template, and the crop it cuts."""

from __future__ import annotations

import math

import cv2
import numpy as np

from likeness.ops.color import to_float
from likeness.ops.geometry import Matrix, scale_of, similarity, transform, warp
from likeness.types import Crop, FloatArray, Pixels


def align(pixels: Pixels, landmarks: FloatArray, size: int) -> Crop:
    """Cuts the aligned face, anti-aliased where it shrinks, mirrored at the frame's border.

    Args:
        pixels: HWC uint8 or uint16 frame; not changed.
        landmarks: (5, 2) in frame pixels.
        size: edge length of the crop.
    """
    return align_with(pixels, similarity(landmarks, size), size)


def align_with(pixels: Pixels, matrix: Matrix, size: int) -> Crop:
    """`align` with the similarity already known."""
    height, width = pixels.shape[:2]
    corners = transform(np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2], _square(size))
    reach = 4 + math.ceil(0.5 / scale_of(matrix))  # the cubic kernel, and half a crop pixel where it shrinks
    x0, y0 = np.floor(corners.min(0)).astype(int) - reach
    x1, y1 = np.ceil(corners.max(0)).astype(int) + reach + 1
    # Only the part under the crop, and what is mirrored into it at the frame's border, is converted to
    # float: a 40-megapixel photo would not fit as one.
    cx0, cx1 = _needed(int(x0), int(x1), width)
    cy0, cy1 = _needed(int(y0), int(y1), height)
    part = to_float(pixels[cy0:cy1, cx0:cx1])
    shift = matrix.copy()
    shift[:, 2] += matrix[:, :2] @ np.array([cx0, cy0])
    image = np.clip(warp(part, shift, (size, size), border=cv2.BORDER_REFLECT_101), 0, 1)
    return Crop(image.astype(np.float32), matrix, _inside(matrix, size, width, height))


def _needed(start: int, stop: int, length: int) -> tuple[int, int]:
    """The pixels [start, stop) of an axis and those that reflection at 0 and length - 1 puts in their place."""
    low, high = min(start, 2 * (length - 1) - stop), max(stop, 1 - start)
    return max(0, min(low, length - 1)), min(length, max(high, 1))


def _square(size: int) -> np.ndarray:
    edge = size - 1
    return np.array([[0, 0], [edge, 0], [0, edge], [edge, edge]], np.float64)


def _inside(matrix: Matrix, size: int, width: int, height: int) -> float:
    """Share of a coarse grid of crop points that falls into the frame."""
    axis = (np.arange(16) + 0.5) * size / 16 - 0.5
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    p = transform(np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2], grid)
    inside = (p[:, 0] > -0.5) & (p[:, 0] < width - 0.5) & (p[:, 1] > -0.5) & (p[:, 1] < height - 0.5)
    return float(inside.mean())
