"""MTCNN (Zhang et al., SPL 2016) with the weights that facenet-pytorch bundles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import facenet_pytorch
import numpy as np
import torch
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
from facenet_pytorch.models.utils.detect_face import detect_face

from likeness.errors import ConfigError
from likeness.types import Faces, Pixels, check_pixels


def weight_files() -> dict[str, Path]:
    """Where the package keeps the three networks' weights, by name."""
    folder = Path(facenet_pytorch.__file__).parent / "data"
    return {f"mtcnn_{name}": folder / f"{name}.pt" for name in ("pnet", "rnet", "onet")}


@dataclass
class DetectConfig:
    """Detection.

    Attributes:
        name: which detector; "mtcnn".
        min_face: smallest box looked for, in source pixels.
        score: least score of a face, 0..1.
        max_side: longer frames are shrunk to this for detection only (small faces in huge frames
            are then looked for from a proportionally larger size).
        pyramid: factor between the scales that are searched.
    """

    name: str = "mtcnn"
    min_face: float = 28.0
    score: float = 0.9
    max_side: int = 1920
    pyramid: float = 0.709

    def __post_init__(self) -> None:
        if self.name != "mtcnn":
            raise ConfigError(f"detect.name: got {self.name!r}, expected mtcnn")
        if self.min_face < 12 or not 0 < self.score < 1 or not 0.3 < self.pyramid < 0.95 or self.max_side < 64:
            raise ConfigError(
                f"detect: got min_face={self.min_face}, score={self.score}, pyramid={self.pyramid}, "
                f"max_side={self.max_side}; expected min_face >= 12, score in 0..1, pyramid in .3...95, max_side >= 64"
            )


class MtcnnDetector:
    """Boxes, scores and five landmarks."""

    name = "mtcnn"

    def __init__(self, config: DetectConfig | None = None, device: torch.device | str = "cpu") -> None:
        self.config, self.device = config or DetectConfig(), torch.device(device)
        self.nets = [net().to(self.device).eval().requires_grad_(False) for net in (PNet, RNet, ONet)]

    def detect(self, frames: Sequence[Pixels]) -> list[Faces]:
        """Finds the faces of HWC uint8 RGB frames of one common size; largest first.

        Raises:
            InputError: if a frame is not HWC RGB.
        """
        if not frames:
            return []
        for frame in frames:
            check_pixels(frame)
        height, width = frames[0].shape[:2]
        shrink = min(1.0, self.config.max_side / max(height, width))
        small = (round(width * shrink), round(height * shrink))
        batch = np.stack([self._prepare(f, small, shrink) for f in frames])
        min_face = max(12.0, self.config.min_face * shrink)
        if min(small) < min_face:  # the pyramid would have no level
            return [Faces.empty() for _ in frames]
        with torch.inference_mode():
            boxes, points = detect_face(
                batch, min_face, *self.nets, [0.6, 0.7, self.config.score], self.config.pyramid, self.device
            )
        scale = np.array([width / small[0], height / small[1]], np.float32)
        return [self._faces(b, p, scale) for b, p in zip(boxes, points, strict=True)]

    def _prepare(self, frame: Pixels, small: tuple[int, int], shrink: float) -> Pixels:
        if frame.dtype == np.uint16:
            frame = (frame >> 8).astype(np.uint8)
        return cv2.resize(frame, small, interpolation=cv2.INTER_AREA) if shrink < 1 else frame

    def _faces(self, boxes: np.ndarray, points: np.ndarray, scale: np.ndarray) -> Faces:
        if len(boxes) == 0:
            return Faces.empty()
        b, p = np.asarray(boxes, np.float32), np.asarray(points, np.float32)
        # Half-pixel convention: centres of the shrunken frame's pixels lie between the source's.
        corners = (b[:, :4].reshape(-1, 2, 2) + 0.5) * scale - 0.5
        faces = Faces(corners.reshape(-1, 4), b[:, 4], (p + 0.5) * scale - 0.5)
        size = (faces.boxes[:, 2] - faces.boxes[:, 0]) * (faces.boxes[:, 3] - faces.boxes[:, 1])
        return faces.select(np.argsort(-size, kind="stable"))
