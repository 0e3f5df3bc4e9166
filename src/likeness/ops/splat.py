"""Forward warping: values land where their pixel moves to."""

from __future__ import annotations

import numpy as np

from likeness.ops.flow import pixel_grid
from likeness.types import FloatArray


def splat(values: FloatArray, motion: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Sums up values where they land, each spread over the four nearest pixels by bilinear weights.

    Args:
        values: (H, W, C).
        motion: (H, W, 2), x y in pixels; what leaves the picture is lost.
        weight: (H, W), of each value.

    Returns:
        The weighted sums (H, W, C), and the sums of the weights (H, W).
    """
    height, width = weight.shape
    where = pixel_grid(width, height) + motion
    corner = np.floor(where).astype(np.int64)
    fraction = where - corner
    layers = [weight, *(weight * values[..., c] for c in range(values.shape[2]))]
    sums = np.zeros((len(layers), height * width))
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        x, y = corner[..., 0] + dx, corner[..., 1] + dy
        inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        part = (np.abs(1 - dx - fraction[..., 0]) * np.abs(1 - dy - fraction[..., 1]))[inside]
        place = (y * width + x)[inside]
        for total, layer in zip(sums, layers, strict=True):
            total += np.bincount(place, part * layer[inside], height * width)
    maps = sums.reshape(-1, height, width).astype(np.float32)
    return np.moveaxis(maps[1:], 0, -1), maps[0]
