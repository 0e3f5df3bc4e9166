"""Steady restoration: the last frame's face, moved along, is part of this one's.

A restored face flickers where the network decides anew in every frame. What it drew last is carried by the motion of
the *input*, and mixed in where both frames show the point, where the input did not change otherwise, and where the
network is unsure: there it invents, and may as well invent the same again.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from likeness.errors import ConfigError
from likeness.ops.flow import carried, motion
from likeness.types import FloatArray, Restored


@dataclass
class FuseConfig:
    """How much of the last frame stays.

    Attributes:
        share: 0..1, of a place where the network is wholly unsure. 0 fuses nothing.
        change: grey levels by which the input may differ from the last one, moved along, until its share falls to a
            third.
    """

    share: float = 0.6
    change: float = 12.0

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1 or self.change <= 0:
            raise ConfigError(
                f"video.fuse: got share={self.share}, change={self.change}; expected a share from 0 to below 1 and a "
                "change above 0"
            )


@dataclass(frozen=True)
class Memory:
    """What a track keeps of its last frame.

    Attributes:
        seen: (256, 256, 3) float32 in [0, 1], the crop that the expert read.
        image: (S, S, 3) float32, what was made of it.
        confidence: (h, w) float32 in [0, 1], the expert's; None if it has none.
    """

    seen: FloatArray
    image: FloatArray
    confidence: FloatArray | None = None


def fuse(seen: FloatArray, restored: Restored, before: Memory | None, config: FuseConfig) -> Memory:
    """Mixes the last frame's restored face into this one's.

    Args:
        seen: (N, N, 3) float32 in [0, 1], the crop that the expert read.
        restored: what it made of it, (S, S, 3), S a whole multiple of N.
        before: the last frame's; None at the start of a track, after a cut, and where another size was restored.
        config: how much.

    Returns:
        What to use and to remember; `image` is the restored one itself where there is nothing to mix. Of a crop that
        equals the last one it is the last one's.
    """
    image = restored.image
    if before is None or config.share == 0 or before.image.shape != image.shape or before.seen.shape != seen.shape:
        return Memory(seen, image, restored.confidence)
    if np.array_equal(seen, before.seen):
        return before
    moved = motion(before.seen * np.float32(255), seen * np.float32(255))
    changed = np.abs(seen - carried(before.seen, moved)).mean(2) * 255 / config.change
    share = config.share * moved.visible * np.exp(-np.square(changed))
    if restored.confidence is not None:
        share = share * (1 - cv2.resize(restored.confidence, share.shape[::-1]))
    # Softened, so that no edge of the mask shows.
    share = cv2.resize(cv2.GaussianBlur(share.astype(np.float32), (0, 0), 2.0), image.shape[1::-1])
    last = carried(before.image, moved, sharp=True)  # what is read softly again and again ends soft
    return Memory(seen, image + share[..., None] * (last - image), restored.confidence)
