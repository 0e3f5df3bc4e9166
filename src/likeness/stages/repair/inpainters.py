"""The inpainters to choose from, and how what they fill is joined to the picture."""

from __future__ import annotations

from itertools import product

import cv2
import numpy as np
from scipy.ndimage import find_objects, label
from skimage.restoration import inpaint_biharmonic

from likeness.errors import needs_extra
from likeness.ops.color import grey, to_float, to_integer
from likeness.ops.fill import fill_smoothly
from likeness.ops.guided import guided_filter
from likeness.registry import Entry, Registry
from likeness.stages.repair.base import Inpainter
from likeness.types import FloatArray, Mask, Pixels

_MARGIN = 8  # pixels around a hole that its filling is computed from
_LARGEST = 20_000  # unknown pixels of a hole that are solved for at once
_PIECE = 96  # pixels
_REACH = 3  # pixels over which a filling is joined


def biharmonic(pixels: Pixels, unknown: Mask) -> Pixels:
    """Biharmonic surfaces over the holes (Damelin and Hoang 2018), hole by hole; very large holes at half size.

    Args:
        pixels: HWC uint8; not changed.
        unknown: (H, W).
    """
    holes, _ = label(cv2.dilate(unknown.astype(np.uint8), np.ones((3, 3))))
    filled = pixels.copy()
    for box in find_objects(holes):
        rows, columns = (slice(max(0, s.start - _MARGIN), s.stop + _MARGIN) for s in box)
        for part in _pieces(rows, columns, unknown):
            hole = unknown[part]
            if not hole.any():
                continue
            if hole.all() or hole.sum() > _LARGEST:
                filled[part] = fill_smoothly(filled[part], hole)
                continue
            values = inpaint_biharmonic(to_float(filled[part]), hole, channel_axis=-1)
            filled[part][hole] = to_integer(values)[hole]
    return filled


def _pieces(rows: slice, columns: slice, unknown: Mask) -> list[tuple[slice, slice]]:
    """A box in squares of at most 112 pixels that overlap: the cost of a hole grows faster than its size."""
    down, across = (
        [
            slice(max(0, i - _MARGIN), min(length, i + _PIECE + _MARGIN))
            for i in range(s.start, min(s.stop, length), _PIECE)
        ]
        for s, length in zip((rows, columns), unknown.shape, strict=True)
    )
    return list(product(down, across))


def telea(pixels: Pixels, unknown: Mask) -> Pixels:
    """Fast marching from the rim (Telea 2004), by OpenCV. See `biharmonic`."""
    return np.asarray(cv2.inpaint(np.ascontiguousarray(pixels), unknown.astype(np.uint8), 3, cv2.INPAINT_TELEA))


def patchmatch(pixels: Pixels, unknown: Mask) -> Pixels:
    """Copies of matching patches (Barnes et al. 2009), by the package pypatchmatch. See `biharmonic`.

    Raises:
        ConfigError: if the package is not installed.
    """
    with needs_extra("patchmatch", "repair.inpainter=patchmatch"):
        from patchmatch import patch_match
    return np.asarray(patch_match.inpaint(np.ascontiguousarray(pixels), unknown.astype(np.uint8) * 255, patch_size=5))


INPAINTERS: Registry[None, Inpainter] = Registry("repair.inpainter")
_READS, _WRITES = "a picture and its unknown pixels", "a filled picture"
INPAINTERS.add(Entry("biharmonic", _READS, _WRITES, "about 0.1 s for thin scratches", lambda _: biharmonic))
INPAINTERS.add(Entry("telea", _READS, _WRITES, "some milliseconds", lambda _: telea))
INPAINTERS.add(Entry("patchmatch", _READS, _WRITES, "pypatchmatch, for large holes", lambda _: patchmatch))


def join(pixels: Pixels, filled: Pixels, unknown: Mask) -> Pixels:
    """Lays a filling over the picture with an edge that follows the filling's own edges (guided filter).

    Unknown pixels are the filling's; further than three pixels from them nothing changes.

    Args:
        pixels: HWC uint8; not changed.
        filled: the same picture, filled.
        unknown: (H, W).
    """
    hard = unknown.astype(np.float32)
    around = cv2.dilate(hard, np.ones((2 * _REACH + 1, 2 * _REACH + 1)))
    alpha: FloatArray = np.clip(guided_filter(grey(to_float(filled)), hard, _REACH), 0, 1) * around
    alpha = np.maximum(alpha, hard)[..., None]
    return np.where(alpha > 0, to_integer(to_float(pixels) * (1 - alpha) + to_float(filled) * alpha), pixels)
