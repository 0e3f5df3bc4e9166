"""The second look: where nothing was found, the picture is searched once more, changed in four ways."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import cv2
import numpy as np

from likeness.ops.geometry import scale_of, similarity
from likeness.stages.detect.base import DetectConfig, Detector
from likeness.stages.detect.tiles import merged, search
from likeness.types import Faces, FloatArray, Pixels

SECOND_SCORE = 0.98  # four more searches give four more chances of a false face
_EYES = 62.96  # distance of the eyes in an aligned crop of 256 pixels


@dataclass(frozen=True)
class Look:
    """A change to the picture before it is searched.

    Attributes:
        turn: quarter turns counter-clockwise.
        grey: whether it is made grey and its histogram equalised.
    """

    turn: int = 0
    grey: bool = False


LOOKS = {
    "grey and equalised": Look(grey=True),
    "turned by 90 degrees": Look(turn=1),
    "turned by 180 degrees": Look(turn=2),
    "turned by 270 degrees": Look(turn=3),
}


def find_faces(
    detector: Detector,
    pixels: Pixels,
    config: DetectConfig,
    width: float,
    looks: Collection[str] = (),
    second: bool = True,
) -> Faces:
    """The faces of one picture, largest first; those that only another look finds carry its name.

    Args:
        detector: built with `config`.
        pixels: HWC uint8 or uint16.
        config: its options.
        width: of the narrowest face that is restored, in pixels.
        looks: names in `LOOKS` that are searched in any case, since they found faces in the last frames.
        second: whether all looks are tried if no face of `width` is found.
    """
    faces = search(detector, pixels, config, width)
    for name in looks:
        faces = merged(faces, _found_by(name, detector, pixels, width))
    if second and not (widths(faces) >= width).any():
        tried = [_found_by(name, detector, pixels, width, new=True) for name in LOOKS if name not in looks]
        # A turned face is found in one turn, and sometimes, less surely, in its neighbours.
        faces = merged(faces, max(tried, key=lambda found: float(found.scores.sum()), default=faces))
    return faces


def _found_by(name: str, detector: Detector, pixels: Pixels, width: float, new: bool = False) -> Faces:
    """The sure faces of at least `width` in a changed picture, `new` ones plausible, in pixels of the unchanged one."""
    look = LOOKS[name]
    changed = _changed(pixels, look)
    (found,) = detector.detect([changed])
    found = found.select((found.scores >= SECOND_SCORE) & (widths(found) >= width))
    if new:
        found = found.select([i for i in range(len(found)) if not detector.doubt(changed, found.select([i]))])
    boxes = _turned_back(found.boxes.reshape(-1, 2, 2), look.turn, pixels)
    corners = np.concatenate([boxes.min(1), boxes.max(1)], 1)
    points = _turned_back(found.landmarks, look.turn, pixels)
    return replace(found, boxes=corners, landmarks=points, looks=np.full(len(found), name))


def _changed(pixels: Pixels, look: Look) -> Pixels:
    if look.grey:
        eight = (pixels >> 8).astype(np.uint8) if pixels.dtype == np.uint16 else pixels
        grey = cv2.equalizeHist(cv2.cvtColor(eight, cv2.COLOR_RGB2GRAY))
        pixels = cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)
    return np.ascontiguousarray(np.rot90(pixels, look.turn))


def _turned_back(points: FloatArray, turn: int, pixels: Pixels) -> FloatArray:
    """(..., 2) points x, y of the picture after `np.rot90(pixels, turn)`, in the picture before."""
    height, width = pixels.shape[:2]
    x, y = points[..., 0], points[..., 1]
    back = [(x, y), (width - 1 - y, x), (width - 1 - x, height - 1 - y), (y, height - 1 - x)][turn]
    return np.stack(back, -1).astype(np.float32)


def widths(faces: Faces) -> FloatArray:
    """(N,) face widths in pixels: twice the eye distance of a frontal face."""
    widths = [2 * _EYES / scale_of(similarity(points, 256)) for points in faces.landmarks]
    return np.array(widths, np.float32)
