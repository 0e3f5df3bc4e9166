"""Enlarging networks in tiles: memory does not grow with the picture, and no seam shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from likeness.ops.color import to_float, to_integer
from likeness.ops.resize import enlarge
from likeness.ops.tiles import tiles
from likeness.stages.background.base import Progress
from likeness.stages.background.lanczos import lanczos
from likeness.types import FloatArray, Pixels


@dataclass(frozen=True)
class Network:
    """An enlarging network.

    Attributes:
        run: (h + 2 context, w + 2 context, 3) float32 in [0, 1] to (scale h, scale w, 3).
        scale: its factor.
        context: pixels on each side that it reads and does not return.
    """

    run: Callable[[FloatArray], FloatArray]
    scale: int
    context: int


def run_network(
    net: Network, pixels: Pixels, factor: int, tile: int, strength: float = 1.0, progress: Progress | None = None
) -> Pixels:
    """Enlarges a picture.

    The network's factor is brought to the wanted one by area averaging or Lanczos' kernel, tile by tile.

    Args:
        net: the network.
        pixels: HWC uint8 or uint16; its edge pixels are repeated as context beyond the border.
        factor: 1, 2 or 4.
        tile: edge of a tile in source pixels, without context.
        strength: 0..1, fraction of the network's picture; the rest is Lanczos.
        progress: is told the number of tiles done.
    """
    if strength == 0:
        return lanczos(pixels, factor)
    height, width = pixels.shape[:2]
    border = max(net.context, 8)  # Lanczos' kernel reads some pixels, too
    padded = np.pad(pixels, ((border, border), (border, border), (0, 0)), "edge")
    out = np.empty((height * factor, width * factor, 3), pixels.dtype)
    places = list(tiles(height, width, tile))
    for done, (rows, columns) in enumerate(places):
        top, bottom, left, right = rows.start, rows.stop, columns.start, columns.stop
        part = to_float(padded[top : bottom + 2 * border, left : right + 2 * border])
        inner = border - net.context
        size = ((right - left) * factor, (bottom - top) * factor)
        large = net.run(part[inner : len(part) - inner, inner : part.shape[1] - inner])
        if net.scale != factor:
            how = cv2.INTER_AREA if net.scale > factor else cv2.INTER_LANCZOS4
            large = np.asarray(cv2.resize(large, size, interpolation=how), np.float32)
        if strength < 1:
            plain = enlarge(part, factor, cv2.INTER_LANCZOS4)
            edge = border * factor
            plain = np.clip(plain[edge : len(plain) - edge, edge : plain.shape[1] - edge], 0, 1)
            large = plain + np.float32(strength) * (np.clip(large, 0, 1) - plain)
        out[top * factor : bottom * factor, left * factor : right * factor] = to_integer(large, pixels.dtype)
        if progress:
            progress(done + 1, len(places))
    return out
