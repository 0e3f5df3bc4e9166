"""One palette for a whole animation, built in a single pass with bounded memory."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.spatial import cKDTree

Colours = npt.NDArray[np.uint8]  # (N, 3) RGB

_EXACT_LIMIT = 256  # as many colours as a GIF palette holds
_BITS = 6  # histogram bins a channel: 2^18 bins, 8 MB
_SAMPLES = 1 << 18  # pixels of the picture that stands for the histogram


def pack(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """(..., 3) RGB as one number a pixel, 0xRRGGBB."""
    wide = pixels.astype(np.uint32)
    packed = (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]
    return packed.astype(np.uint32, copy=False)


def unpack(packed: npt.NDArray[np.uint32]) -> Colours:
    """The inverse of `pack` for a flat array, (N, 3)."""
    return np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], axis=1).astype(np.uint8)


class PaletteBuilder:
    """Collects colours; up to 256 of them stay exact, more are cut to the palette's size by median cut."""

    def __init__(self) -> None:
        self._exact: npt.NDArray[np.uint32] | None = np.zeros(0, np.uint32)
        self._counts = np.zeros(1 << 3 * _BITS, np.int64)
        self._sums = np.zeros((3, 1 << 3 * _BITS), np.float64)

    def add(self, pixels: Colours) -> None:
        """Counts (N, 3) uint8 RGB pixels."""
        packed, counts = np.unique(pack(pixels), return_counts=True)
        if self._exact is not None:
            union = np.union1d(self._exact, packed)
            self._exact = union if len(union) <= _EXACT_LIMIT else None
        colours = unpack(packed)
        red, green, blue = (colours >> (8 - _BITS)).astype(np.int64).T
        bins = (red << 2 * _BITS) | (green << _BITS) | blue
        size = len(self._counts)
        self._counts += np.bincount(bins, counts, size).astype(np.int64)
        for channel in range(3):
            self._sums[channel] += np.bincount(bins, counts * colours[:, channel].astype(np.float64), size)

    def build(self, limit: int) -> Colours:
        """The palette, at most `limit` (2..256) colours, at least one."""
        if self._exact is not None and len(self._exact) <= limit:
            return unpack(self._exact) if len(self._exact) else np.zeros((1, 3), np.uint8)
        (used,) = np.nonzero(self._counts)
        means = np.rint(self._sums[:, used] / self._counts[used]).astype(np.uint8).T
        fractions = self._counts[used] / self._counts.sum()
        repeats = np.maximum(1, np.rint(fractions * _SAMPLES)).astype(np.int64)
        sample = Image.fromarray(np.repeat(means, repeats, axis=0)[None])
        reduced = sample.quantize(limit, Image.Quantize.MEDIANCUT, kmeans=2, dither=Image.Dither.NONE)
        palette = np.array(reduced.getpalette("RGB"), np.uint8).reshape(-1, 3)[:limit]
        return np.unique(palette, axis=0)


class PaletteMapper:
    """Maps colours to the nearest entry of a palette (Euclidean in RGB, no dithering).

    A colour's index depends on nothing but the colour, so what stands still in an animation keeps its
    indices: no flicker, no crawling dots. Two tables of 16 MB remember the colours looked up.
    """

    def __init__(self, palette: Colours) -> None:
        self._tree = cKDTree(palette.astype(np.float64))
        self._index = np.zeros(1 << 24, np.uint8)
        self._known = np.zeros(1 << 24, np.bool_)

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """HW indices of HWC uint8 RGB pixels."""
        packed = pack(pixels)
        new = np.unique(packed[~self._known[packed]])
        if len(new):
            self._index[new] = self._tree.query(unpack(new).astype(np.float64))[1]
            self._known[new] = True
        return self._index[packed]
