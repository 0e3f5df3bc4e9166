"""The mask shape of the composite, head or face: fixed in template coordinates, never derived from pixels."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np

from likeness.types import FloatArray

MaskShape = Literal["head", "face"]
MASK_SHAPES: tuple[MaskShape, ...] = ("head", "face")
_MARGIN = 8  # pixels of a 256 crop around the mask: warping and blurring read beyond its edge


@lru_cache(maxsize=16)
def template_mask(size: int, shape: MaskShape = "face") -> FloatArray:
    """A fixed soft mask of an aligned crop, (size, size) float32 in [0, 1]; do not write to it.

    Both shapes are superellipses with a smooth fall-off. `head` covers nearly the whole crop, with hair, ears and neck:
    exponent 4, 1 inside 75 % of its radius, 0 at the crop's edge. `face` reaches from brow to chin and from ear to ear
    of the FFHQ template: 1 inside 70 % of its radius. It includes a little of the forehead, so that a cleaned brow does
    not end abruptly.
    """
    axis = (np.arange(size) + 0.5) * 512 / size - 0.5
    x, y = np.meshgrid(axis, axis)
    if shape == "head":
        radius, inner = (np.abs((x - 255.5) / 256) ** 4 + np.abs((y - 255.5) / 256) ** 4) ** (1 / 4), 0.75
    else:
        # Half axes reach the chin below and just over the brows above; ears left and right.
        half_height = np.where(y < 318, 178.0, 150.0)
        radius = (np.abs((x - 256) / 146) ** 2.4 + np.abs((y - 318) / half_height) ** 2.4) ** (1 / 2.4)
        inner = 0.70
    t = np.clip((1 - radius) / (1 - inner), 0, 1)
    mask: FloatArray = (t * t * (3 - 2 * t)).astype(np.float32)
    mask.setflags(write=False)
    return mask


@lru_cache(maxsize=16)
def pasted_part(size: int, factor: int = 1, shape: MaskShape = "face") -> tuple[slice, slice]:
    """Rows and columns of a crop under the mask and a margin around it: two fifths of its pixels for `face`.

    Args:
        size: edge of the crop.
        factor: of an enlargement of it, in whose pixels the answer is given; the part is the same one.
        shape: of the mask.
    """
    margin = round(_MARGIN * size / 256)
    inside = [np.flatnonzero(template_mask(size, shape).any(axis)) for axis in (1, 0)]
    rows, columns = ((max(0, int(i[0]) - margin), min(size, int(i[-1]) + 1 + margin)) for i in inside)
    return slice(factor * rows[0], factor * rows[1]), slice(factor * columns[0], factor * columns[1])
