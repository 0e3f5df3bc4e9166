"""Frames between two restored ones: the optical flow moves what the expert added to the last restored face.

Each frame shows its own input; only the expert's residual is older. So lips and lids move as they do in the input, and
changes of light remain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np

from likeness.errors import ConfigError
from likeness.ops.flow import motion, warp_by_motion
from likeness.ops.geometry import enlarged
from likeness.ops.mask import MaskShape, pasted_part
from likeness.stages.temporal.state import BlendState
from likeness.types import FloatArray

LONGEST = 12  # frames; after half a second, faces have turned too far for an older residual
_WEIGHT = 0.2  # of the newest frame in the averages of `Pace`
_VISIBLE = 0.85  # smallest fraction of the pasted region that both frames must show


@dataclass
class PropagateConfig:
    """Which frames of a face are restored.

    Attributes:
        every: the expert runs at least on every Nth frame of a face, unless `video.target_fps` asks for more speed; 1 =
            on all.
    """

    every: int = 1

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ConfigError(f"video.propagate: got every={self.every}, expected at least 1")


@dataclass(frozen=True)
class Pace:
    """What the last frames cost on this machine, for `video.target_fps`.

    Attributes:
        fixed: seconds of a frame without the experts, averaged; None before the first frame.
        face: seconds of an expert for a face, averaged; None before the first restored face.
        faces: number of faces that are restored or propagated.
    """

    fixed: float | None = None
    face: float | None = None
    faces: int = 0

    def after(self, seconds: float, restoring: float, restored: int, propagated: int) -> Self:
        """The pace after another frame.

        Args:
            seconds: of the whole frame.
            restoring: those of them that the experts took.
            restored: number of faces that the experts restored.
            propagated: number of faces to which an older residual was moved.
        """
        fixed = _average(self.fixed, seconds - restoring)
        face = _average(self.face, restoring / restored) if restored else self.face
        return type(self)(fixed, face, restored + propagated)

    def every(self, target_fps: float) -> int:
        """The smallest N, at most `LONGEST`, so that a face restored on every Nth frame leaves `target_fps`."""
        if self.fixed is None or self.face is None:
            return 1
        left = 1 / target_fps - self.fixed
        return min(LONGEST, max(1, math.ceil(self.faces * self.face / left))) if left > 0 else LONGEST


def _average(before: float | None, now: float) -> float:
    return now if before is None else (1 - _WEIGHT) * before + _WEIGHT * now


def propagate(crop: FloatArray, before: BlendState, mask: MaskShape = "face") -> FloatArray | None:
    """The restored face of a frame on which the expert does not run.

    Args:
        crop: (N, N, 3) float32 in [0, 1], of this frame.
        before: the last restored frame.
        mask: what is pasted.

    Returns:
        (S, S, 3) float32 in [0, 1], S as in `before`; outside the pasted region the enlarged input. None where both
        frames share too little of the face. For an equal crop it is `before.image` itself.
    """
    if np.array_equal(crop, before.crop):
        return before.image
    if crop.shape != before.crop.shape:
        return None
    size = before.image.shape[0]
    here, there = pasted_part(len(crop), 1, mask), pasted_part(len(crop), size // len(crop), mask)
    flow = motion(before.crop * np.float32(255), crop * np.float32(255), fast=True).of(*here)
    if flow.visible.mean() < _VISIBLE:
        return None
    residual = warp_by_motion(before.image[there] - enlarged(before.crop, size)[there], flow, sharp=True)
    # Blurred, so that no edge of the visibility mask shows.
    alpha = cv2.resize(cv2.GaussianBlur(flow.visible.astype(np.float32), (0, 0), 2.0), residual.shape[1::-1])
    image = enlarged(crop, size).copy()
    image[there] = np.clip(image[there] + alpha[..., None] * residual, 0, 1)
    return image
