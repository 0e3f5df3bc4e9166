"""A detector in one file: scikit-image's cascade finds boxes, and the template's landmarks are laid into them.

python examples/own_detector.py photo.jpg results
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from skimage.data import lbp_frontal_face_cascade_filename
from skimage.feature import Cascade

from likeness import Restorer
from likeness.ops.geometry import TEMPLATE_512
from likeness.registry import Entry
from likeness.stages.detect.registry import DETECTORS
from likeness.types import Faces, FloatArray, Pixels


class CascadeDetector:
    """Finds upright frontal faces. Landmarks that were measured align better than these average ones."""

    name = "cascade"

    def __init__(self, min_face: float) -> None:
        self.cascade = Cascade(lbp_frontal_face_cascade_filename())
        self.min_face = round(min_face)

    def detect(self, frames: Sequence[Pixels]) -> list[Faces]:
        """Faces of each frame, largest first."""
        return [self._faces(frame) for frame in frames]

    def doubt(self, pixels: Pixels, face: Faces, doubted: bool = False) -> str:
        """The landmarks follow from the box, so none is implausible."""
        return ""

    def _faces(self, frame: Pixels) -> Faces:
        largest = min(frame.shape[:2])
        found = self.cascade.detect_multi_scale(
            frame,
            scale_factor=1.1,
            step_ratio=1,
            min_size=(self.min_face, self.min_face),
            max_size=(largest, largest),
            min_neighbor_number=12,  # with the usual 4 it takes badges for faces
        )
        if not found:
            return Faces.empty()
        found.sort(key=lambda box: -box["width"])
        corners = np.array([(box["c"], box["r"]) for box in found], np.float32)
        widths = np.array([box["width"] for box in found], np.float32)[:, None]
        scores = np.ones(len(found), np.float32)  # the cascade gives none
        return Faces(np.concatenate([corners, corners + widths], 1), scores, self._landmarks(corners, widths))

    def _landmarks(self, corners: FloatArray, widths: FloatArray) -> FloatArray:
        """(N, 5, 2); the eyes are 0.44 of the box apart, and the landmarks' mean lies 0.58 down."""
        shape = (TEMPLATE_512 - TEMPLATE_512.mean(0)) * 0.44 / (TEMPLATE_512[1, 0] - TEMPLATE_512[0, 0])
        middle = np.array([0.5, 0.58])
        return (corners[:, None] + widths[:, None] * (middle + shape)).astype(np.float32)


DETECTORS.add(
    Entry("cascade", "frames", "boxes, landmarks", "nothing", lambda options: CascadeDetector(options.config.min_face))
)

if __name__ == "__main__":
    source, folder = sys.argv[1:]
    result = Restorer(**{"detect.name": "cascade"}).file(source, folder)
    print(result.summary)
