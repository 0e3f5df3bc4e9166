"""Frames between two restored ones: what was added to the last restored face is carried along by the flow.

The input of every frame is shown anew; only what the expert added to it is older. So lips and lids move as they do in
the input, and light that changes, changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from likeness.errors import ConfigError
from likeness.ops.flow import carried, motion
from likeness.ops.geometry import enlarged
from likeness.ops.mask import pasted_part
from likeness.stages.temporal.fuse import Memory
from likeness.types import FloatArray


@dataclass
class CarryConfig:
    """Which frames of a face are restored.

    Attributes:
        every: 1 = all; N = the expert runs on every Nth frame of a steady face at most.
        visible: 0..1, least share of what is pasted that both frames must show; below it the face is not steady, and is
            restored.
    """

    every: int = 1
    visible: float = 0.85

    def __post_init__(self) -> None:
        if self.every < 1 or not 0 <= self.visible <= 1:
            raise ConfigError(
                f"video.carry: got every={self.every}, visible={self.visible}; expected every from 1 up and visible "
                "from 0 to 1"
            )


def carried_face(seen: FloatArray, before: Memory, config: CarryConfig) -> FloatArray | None:
    """The restored face of a frame that the expert does not see.

    Args:
        seen: (N, N, 3) float32 in [0, 1], this frame's crop.
        before: the last frame that was restored.
        config: what is steady.

    Returns:
        (S, S, 3) float32 in [0, 1], S as `before` has it; outside of what is pasted the enlarged input. None where too
        little of the face is seen in both frames. Of an equal crop it is `before.image` itself.
    """
    if np.array_equal(seen, before.seen):
        return before.image
    if seen.shape != before.seen.shape:
        return None
    size = before.image.shape[0]
    here, there = pasted_part(len(seen)), pasted_part(len(seen), size // len(seen))
    moved = motion(before.seen * np.float32(255), seen * np.float32(255), fast=True).of(*here)
    if moved.visible.mean() < config.visible:
        return None
    added = carried(before.image[there] - enlarged(before.seen, size)[there], moved, sharp=True)
    # Softened, so that no edge of the mask shows.
    share = cv2.resize(cv2.GaussianBlur(moved.visible.astype(np.float32), (0, 0), 2.0), added.shape[1::-1])
    image = enlarged(seen, size).copy()
    image[there] = np.clip(image[there] + share[..., None] * added, 0, 1)
    return image
