"""What every face detector offers, and the options that they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from likeness.errors import ConfigError
from likeness.types import Faces, Pixels, check_pixels


@dataclass
class DetectConfig:
    """Detection.

    Attributes:
        name: which detector; "mtcnn" (its weights come with facenet-pytorch) or "retinaface".
        file: RetinaFace's weights.
        min_face: smallest box looked for, in source pixels.
        score: minimum score of a face, 0..1.
        max_side: longer frames are shrunk to this for detection only (small faces in huge frames
            are then looked for from a proportionally larger size).
    """

    name: str = "mtcnn"
    file: str = ""
    min_face: float = 28.0
    score: float = 0.9
    max_side: int = 1920

    def __post_init__(self) -> None:
        if self.name == "retinaface" and not self.file:
            raise ConfigError("detect.file: got none, expected RetinaFace's weights; give detect.file=FILE")
        if self.name == "mtcnn" and self.file:
            raise ConfigError("detect.file: is for detect.name=retinaface; mtcnn brings its own")
        if self.min_face < 12 or not 0 < self.score < 1 or self.max_side < 64:
            raise ConfigError(
                f"detect: got min_face={self.min_face}, score={self.score}, max_side={self.max_side}; expected "
                "min_face >= 12, score in 0..1, max_side >= 64"
            )


class Detector(Protocol):
    """Finds faces; holds no state of any picture, so threads may share it."""

    name: str

    def detect(self, frames: Sequence[Pixels]) -> list[Faces]:
        """Faces of each HWC uint8 RGB frame, largest first; frames of one call share one size."""
        ...

    def doubt(self, pixels: Pixels, face: Faces, doubted: bool = False) -> str:
        """Why the landmarks of a face that it found are implausible; empty where they are plausible.

        A face of a clip that was in doubt before is `doubted`: more must speak for it.
        """
        ...


def shrink_frames(frames: Sequence[Pixels], max_side: int) -> tuple[Pixels, float]:
    """Frames of one size as (N, h, w, 3) uint8 with h, w at most `max_side`, and the factor <= 1 used.

    Raises:
        InputError: if a frame is not HWC RGB.
    """
    for frame in frames:
        check_pixels(frame)
    height, width = frames[0].shape[:2]
    factor = min(1.0, max_side / max(height, width))
    small = (max(1, round(width * factor)), max(1, round(height * factor)))

    def prepare(frame: Pixels) -> Pixels:
        if frame.dtype == np.uint16:
            frame = (frame >> 8).astype(np.uint8)
        return cv2.resize(frame, small, interpolation=cv2.INTER_AREA) if factor < 1 else frame

    return np.stack([prepare(f) for f in frames]), factor


def faces_of(boxes: np.ndarray, scores: np.ndarray, points: np.ndarray, scale: np.ndarray) -> Faces:
    """Takes detections back to the source frame, largest first.

    Args:
        boxes: (N, 4) xyxy in the shrunken frame.
        scores: (N,).
        points: (N, 5, 2).
        scale: (2,) source pixels per pixel of the shrunken frame, x and y.
    """
    if len(boxes) == 0:
        return Faces.empty()
    b, p = np.asarray(boxes, np.float32), np.asarray(points, np.float32)
    # Half-pixel convention: centres of the shrunken frame's pixels lie between the source's.
    corners = (b.reshape(-1, 2, 2) + 0.5) * scale - 0.5
    faces = Faces(corners.reshape(-1, 4), np.asarray(scores, np.float32), (p + 0.5) * scale - 0.5)
    size = (faces.boxes[:, 2] - faces.boxes[:, 0]) * (faces.boxes[:, 3] - faces.boxes[:, 1])
    return faces.select(np.argsort(-size, kind="stable"))
