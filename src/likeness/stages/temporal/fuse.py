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
from likeness.ops.color import grey
from likeness.ops.flow import carried, motion
from likeness.ops.mask import pasted_part
from likeness.types import FloatArray, Restored

_FINE, _AROUND = 2.0, 8.0  # pixels of the restored face: what is its finest detail, and over how much it is averaged
_MOST = 1.5  # times that this is raised at most


@dataclass
class FuseConfig:
    """How much of the last frame stays.

    Attributes:
        share: 0..1, of a place where the network is wholly unsure. 0 fuses nothing.
        change: grey levels by which the input may differ from the last one, moved along, until its share falls to a
            third.
        contrast: 0..1, how much of the fine contrast that mixing costs is given back: where two drawn textures differ,
            their mean is flatter than either.
    """

    share: float = 0.6
    change: float = 12.0
    contrast: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1 or self.change <= 0 or not 0 <= self.contrast <= 1:
            raise ConfigError(
                f"video.fuse: got share={self.share}, change={self.change}, contrast={self.contrast}; expected a share "
                "from 0 to below 1, a change above 0 and a contrast of 0 to 1"
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
        What to use and to remember; `image` is the restored one itself where there is nothing to mix, and outside of
        what is pasted. Of a crop that equals the last one it is the last one's.
    """
    image = restored.image
    if before is None or config.share == 0 or before.image.shape != image.shape or before.seen.shape != seen.shape:
        return Memory(seen, image, restored.confidence)
    if np.array_equal(seen, before.seen):
        return before
    # Only what will be pasted is moved and mixed: the rest of the crop is more than half of it. Its motion is
    # looked for in all of the crop, as what comes in from beyond the part's edge is not seen in the part.
    here, there = pasted_part(len(seen)), pasted_part(len(seen), len(image) // len(seen))
    now, last = seen[here], before.seen[here]
    moved = motion(before.seen * np.float32(255), seen * np.float32(255), fast=True).of(*here)
    changed = np.abs(now - carried(last, moved)).mean(2) * 255 / config.change
    share = config.share * moved.visible * np.exp(-np.square(changed))
    if restored.confidence is not None:
        share = share * (1 - cv2.resize(restored.confidence, seen.shape[1::-1])[here])
    drawn = image[there]
    # Softened, so that no edge of the mask shows.
    share = cv2.resize(cv2.GaussianBlur(share.astype(np.float32), (0, 0), 2.0), drawn.shape[1::-1])
    kept = carried(before.image[there], moved, sharp=True)  # what is read softly again and again ends soft
    mixed = image.copy()
    mixed[there] = _contrasted(drawn + share[..., None] * (kept - drawn), drawn, config.contrast)
    return Memory(seen, mixed, restored.confidence)


def _contrasted(mixed: FloatArray, image: FloatArray, share: float) -> FloatArray:
    """The mixture, its finest detail raised towards the local variance that it has in the new face.

    Variance is what a mixture of textures has to keep (Heitz and Neyret, HPG 2018, section 3); there it follows from
    the weights of unrelated textures, here it is measured, as these are related.
    """
    if share == 0:
        return mixed
    fine, wanted = _fine(mixed), _fine(image)
    floor = np.float32(1e-6)  # of what has no detail nothing is raised
    gain = np.sqrt((_variance(wanted) + floor) / (_variance(fine) + floor)).clip(1, _MOST)
    return np.clip(mixed + (share * (gain - 1) * fine)[..., None], 0, 1)


def _fine(image: FloatArray) -> FloatArray:
    luma = grey(image)
    return luma - cv2.GaussianBlur(luma, (0, 0), _FINE)


def _variance(fine: FloatArray) -> FloatArray:
    return np.asarray(cv2.GaussianBlur(np.square(fine), (0, 0), _AROUND), np.float32)
