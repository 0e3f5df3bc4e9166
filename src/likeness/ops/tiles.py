"""Large pictures in pieces, so that memory does not grow with their size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from likeness.types import FloatArray


@dataclass(frozen=True)
class Tile:
    """Windows of one tile, each (top, left, bottom, right) in source pixels.

    Attributes:
        window: what the function reads: the core and a margin of context, within the picture.
        core: the part whose result is kept; the cores of all tiles cover the picture once.
    """

    window: tuple[int, int, int, int]
    core: tuple[int, int, int, int]


def tiles(height: int, width: int, size: int, margin: int) -> Iterator[Tile]:
    """Cuts a picture into cores of at most `size` pixels with `margin` pixels of context around each."""
    for top in range(0, height, size):
        for left in range(0, width, size):
            bottom, right = min(top + size, height), min(left + size, width)
            window = (
                max(0, top - margin),
                max(0, left - margin),
                min(height, bottom + margin),
                min(width, right + margin),
            )
            yield Tile(window, (top, left, bottom, right))


def tiled(
    image: FloatArray, function: Callable[[FloatArray], FloatArray], scale: int, size: int, margin: int
) -> FloatArray:
    """Applies an enlarging function piece by piece.

    The same as in one piece where the function looks no further than `margin` pixels.

    Args:
        image: (H, W, C).
        function: (h, w, C) to (scale h, scale w, C).
        scale: its factor.
        size: edge of a piece, without the margin.
        margin: pixels of context on each side.
    """
    height, width, channels = image.shape
    out = np.empty((height * scale, width * scale, channels), np.float32)
    for tile in tiles(height, width, size, margin):
        (y0, x0, y1, x1), (top, left, bottom, right) = tile.window, tile.core
        part = function(np.ascontiguousarray(image[y0:y1, x0:x1]))
        rows = slice((top - y0) * scale, (bottom - y0) * scale)
        columns = slice((left - x0) * scale, (right - x0) * scale)
        out[top * scale : bottom * scale, left * scale : right * scale] = part[rows, columns]
    return out
