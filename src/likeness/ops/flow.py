"""Dense motion between two frames, and which points both of them show."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from likeness.errors import InputError
from likeness.ops.color import grey
from likeness.types import FloatArray

# Where flow there and back do not meet, one of the two frames does not show the point (Sundaram et al., ECCV 2010).
_MEET_SHARE, _MEET_PIXELS = 0.01, 0.5


class Motion(NamedTuple):
    """How a scene moves from one frame to the next.

    Attributes:
        where: (H, W, 2) float32, x y in the earlier frame of each pixel of the later one.
        visible: (H, W) bool, whether that point is seen in both.
    """

    where: FloatArray
    visible: npt.NDArray[np.bool_]

    def of(self, rows: slice, columns: slice) -> Motion:
        """That of a part of both pictures, in its own pixels."""
        corner = np.array([columns.start, rows.start], np.float32)
        return Motion(self.where[rows, columns] - corner, self.visible[rows, columns])


def motion(before: FloatArray, now: FloatArray, fast: bool = False) -> Motion:
    """Dense optical flow (DIS, Kroeger et al., ECCV 2016), checked forward and backward.

    Args:
        before, now: HWC float32, 0..255, of one shape.
        fast: OpenCV's fast preset instead of its medium one: half the resolution, a fifth of the time.

    Raises:
        InputError: if they are not.
    """
    if before.shape != now.shape or before.ndim != 3 or before.shape[2] != 3:
        raise InputError(f"frames: got {before.shape} and {now.shape}, expected HWC frames of one shape")
    a, b = (np.clip(grey(x), 0, 255).astype(np.uint8) for x in (before, now))
    preset = cv2.DISOPTICAL_FLOW_PRESET_FAST if fast else cv2.DISOPTICAL_FLOW_PRESET_MEDIUM
    dis = cv2.DISOpticalFlow.create(preset)
    back = np.asarray(dis.calc(b, a, np.zeros((*a.shape, 2), np.float32)), np.float32)
    forth = np.asarray(dis.calc(a, b, np.zeros((*a.shape, 2), np.float32)), np.float32)
    height, width = a.shape
    where = pixel_grid(width, height) + back
    returned = read(forth, where, cv2.INTER_LINEAR)
    gap, length = _squared(back + returned), _squared(back) + _squared(returned)
    x, y = where[..., 0], where[..., 1]
    inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    return Motion(where, inside & (gap < _MEET_SHARE * length + _MEET_PIXELS))


def warp_by_motion(picture: FloatArray, moved: Motion, sharp: bool = False) -> FloatArray:
    """An earlier HWC picture moved along to the later frame; of the motion's size, or a whole multiple of it.

    Args:
        picture: what is moved; with `sharp` RGB.
        moved: how.
        sharp: read between pixels by Lanczos' kernel in luma, where sharpness lies, and linearly in colour; else
            linearly throughout, which softens.
    """
    height, width = moved.where.shape[:2]
    factor = picture.shape[1] // width
    where = moved.where
    if factor > 1:
        large = width * factor, height * factor
        # The displacements are enlarged, not the places: at rest they are 0, and the picture is moved exactly.
        where = pixel_grid(*large) + np.float32(factor) * cv2.resize(where - pixel_grid(width, height), large)
    if not sharp:
        return read(picture, where, cv2.INTER_LINEAR)
    luma = grey(picture)
    sharper = read(luma, where, cv2.INTER_LANCZOS4) - read(luma, where, cv2.INTER_LINEAR)
    return read(picture, where, cv2.INTER_LINEAR) + sharper[..., None]


def read(picture: FloatArray, where: FloatArray, method: int) -> FloatArray:
    """A picture's values at (H, W, 2) places x y, by one of OpenCV's interpolations; beyond its edges they repeat."""
    return np.asarray(cv2.remap(picture, where, None, method, borderMode=cv2.BORDER_REPLICATE), np.float32)  # type: ignore[call-overload]


def _squared(vectors: FloatArray) -> FloatArray:
    x, y = vectors[..., 0], vectors[..., 1]
    return x * x + y * y


@lru_cache(maxsize=8)
def pixel_grid(width: int, height: int) -> FloatArray:
    """(H, W, 2) float32, x y of every pixel; shared and not to be written to."""
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
    grid.setflags(write=False)
    return grid
