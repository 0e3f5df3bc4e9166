"""MTCNN (Zhang et al., SPL 2016) with the weights that facenet-pytorch bundles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import facenet_pytorch
import numpy as np
import torch
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
from facenet_pytorch.models.utils.detect_face import detect_face

from likeness.stages.detect.base import DetectConfig, faces_of, shrink_frames
from likeness.stages.detect.plausibility import LOOK_SCORE, doubt
from likeness.types import Faces, Pixels


def weight_files() -> dict[str, Path]:
    """Where the package keeps the three networks' weights, by name."""
    folder = Path(facenet_pytorch.__file__).parent / "data"
    return {f"mtcnn_{name}": folder / f"{name}.pt" for name in ("pnet", "rnet", "onet")}


PYRAMID = 0.709  # factor between the scales that are searched; facenet-pytorch's default


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
        return self._search(frames, self.config.score)

    def detect_again(self, frames: Sequence[Pixels]) -> list[Faces]:
        """`detect` in the looks at a face that was found."""
        return self._search(frames, min(LOOK_SCORE, self.config.score))

    def _search(self, frames: Sequence[Pixels], score: float) -> list[Faces]:
        if not frames:
            return []
        batch, shrink = shrink_frames(frames, self.config.max_side)
        (height, width), small = frames[0].shape[:2], (batch.shape[2], batch.shape[1])
        min_face = max(12.0, self.config.min_face * shrink)
        if min(small) < min_face:  # the pyramid would have no level
            return [Faces.empty() for _ in frames]
        with torch.inference_mode():
            boxes, points = detect_face(batch, min_face, *self.nets, [0.6, 0.7, score], PYRAMID, self.device)
        scale = np.array([width / small[0], height / small[1]], np.float32)
        detections = zip(boxes, points, strict=True)
        return [faces_of(b[:, :4], b[:, 4], p, scale) if len(b) else Faces.empty() for b, p in detections]

    def doubt(self, pixels: Pixels, face: Faces, doubted: bool = False) -> str:
        """Why the landmarks of a face that it found are implausible; empty where they are plausible."""
        return doubt(self.detect_again, pixels, face, doubted)
