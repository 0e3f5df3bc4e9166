"""Small faces in huge pictures: a search in overlapping tiles beside the one in the shrunken picture."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

import cv2
import numpy as np

from likeness.stages.detect.base import DetectConfig, Detector, faces_of
from likeness.types import Faces, FloatArray, Pixels

BOX = 1 / 0.8  # detectors' boxes, in face widths
RELIABLE = 20.0  # edge in pixels from which the detectors find most boxes
MARGIN = 1.25  # tiles show the smallest wanted face that much larger than `DetectConfig.min_face`
OVERLAP = 0.3  # IoU from which two boxes are one face
CONTAINED = 0.6  # or the part of the smaller box that lies in the other


def search(detector: Detector, pixels: Pixels, config: DetectConfig, width: float) -> Faces:
    """The faces of one picture, largest first.

    A picture that the detector must shrink so far that a face of `width` becomes too small to be found is searched in
    tiles too. Of a face that both find, the tile shows the landmarks better, unless it may be cut by every tile.

    Args:
        detector: built with `config`.
        pixels: HWC uint8 or uint16.
        config: its options.
        width: face width in pixels; of route.skip_below, the narrowest face that is restored.
    """
    (faces,) = detector.detect([pixels])
    shrink = min(1.0, config.max_side / max(pixels.shape[:2]))
    if width <= 0 or width * BOX * shrink >= RELIABLE:
        return faces
    scale = min(1.0, MARGIN * config.min_face / (width * BOX))
    # A face that is cut by every tile must be large enough for the shrunken picture.
    overlap = min(config.max_side // 2, ceil(MARGIN * config.min_face * scale / shrink))
    in_tiles = Faces.empty()
    for part in _in_tiles(detector, pixels, config.max_side, scale, overlap):
        in_tiles = in_tiles.joined(part)
    large = (faces.boxes[:, 2:] - faces.boxes[:, :2]).max(1, initial=0.0) > overlap / scale
    return merged(merged(faces.select(large), in_tiles), faces.select(~large))


def merged(faces: Faces, others: Faces) -> Faces:
    """All of `faces`, and those of `others` that are not among them, the surest of each; largest first."""
    kept = faces
    for i in np.argsort(-others.scores, kind="stable"):
        one = others.select([int(i)])
        if not _same(kept.boxes, one.boxes[0]).any():
            kept = kept.joined(one)
    size = (kept.boxes[:, 2:] - kept.boxes[:, :2]).prod(1)
    return kept.select(np.argsort(-size, kind="stable"))


def _same(boxes: FloatArray, box: FloatArray) -> FloatArray:
    """Which of (N, 4) boxes show the face of another box."""
    sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    shared = np.clip(sides, 0, None).prod(1)
    areas, area = (boxes[:, 2:] - boxes[:, :2]).prod(1), (box[2:] - box[:2]).prod()
    union = np.maximum(areas + area - shared, 1e-6)
    return (shared / union > OVERLAP) | (shared / np.maximum(np.minimum(areas, area), 1e-6) > CONTAINED)


def _in_tiles(detector: Detector, pixels: Pixels, edge: int, scale: float, overlap: int) -> Iterator[Faces]:
    """The faces of each tile of the scaled picture, in the picture's pixels."""
    height, width = pixels.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if scale < 1 else pixels
    factor = np.array([width / size[0], height / size[1]], np.float32)
    for top in _starts(size[1], edge, overlap):
        for left in _starts(size[0], edge, overlap):
            tile = np.ascontiguousarray(small[top : top + edge, left : left + edge])
            (found,) = detector.detect([tile])
            corner = np.array([left, top], np.float32)
            boxes, points = found.boxes + np.tile(corner, 2), found.landmarks + corner
            yield faces_of(boxes, found.scores, points, factor)


def _starts(length: int, edge: int, overlap: int) -> list[int]:
    """Where tiles of `edge` begin so that they cover `length`, evenly, with at least `overlap` in common."""
    if length <= edge:
        return [0]
    count = ceil((length - overlap) / (edge - overlap))
    return [round(start) for start in np.linspace(0, length - edge, count)]
