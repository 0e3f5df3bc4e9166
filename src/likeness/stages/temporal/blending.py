"""Temporal blending: the last restored face, moved by the optical flow, is mixed into this frame's.

A restored face flickers where the network decides anew in every frame. The last result is moved by the motion of the
*input*. It is mixed in where both frames show the point, where the input did not change, and where the network is
unsure: there it invents detail, and the last frame's is as good.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from likeness.errors import ConfigError
from likeness.ops.color import grey
from likeness.ops.flow import motion, warp_by_motion
from likeness.ops.mask import MaskShape, pasted_part
from likeness.ops.resize import resize
from likeness.stages.temporal.state import BlendState
from likeness.types import FloatArray, Restored

_CHANGE = 12.0  # change of the input, in grey levels, at which the weight falls to 1/e
_FINE, _AROUND = 2.0, 8.0  # sigmas in pixels of the restored face: of its finest detail, and of that detail's variance
_COARSE = 4  # the variance is smooth, so it is blurred at this fraction of the size
_MOST = 1.5  # largest gain of the finest detail


@dataclass
class BlendConfig:
    """Weight of the last frame.

    Attributes:
        weight: 0..1, where the confidence is 0. 0 turns blending off.
        contrast: 0..1, how much of the fine contrast lost by mixing is restored: the mean of two textures is flatter
            than either.
    """

    weight: float = 0.6
    contrast: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.weight < 1 or not 0 <= self.contrast <= 1:
            raise ConfigError(
                f"video.blend: got weight={self.weight}, contrast={self.contrast}; expected a weight from 0 to below 1 "
                "and a contrast of 0 to 1"
            )


def blend(
    crop: FloatArray, restored: Restored, before: BlendState | None, config: BlendConfig, mask: MaskShape = "face"
) -> BlendState:
    """Mixes the last frame's restored face into this one's.

    Args:
        crop: (N, N, 3) float32 in [0, 1], the expert's input.
        restored: the expert's output, (S, S, 3), S a whole multiple of N.
        before: the last frame's; None at the start of a track and after a cut.
        config: weights.
        mask: what is pasted.

    Returns:
        The blended face, which is also the next frame's `before`. Its image is `restored.image` outside the pasted
        region, and everywhere if there is nothing to blend with; for a crop equal to the last one it is `before`.
    """
    image = restored.image
    if before is None or config.weight == 0 or before.image.shape != image.shape or before.crop.shape != crop.shape:
        return BlendState(crop, image, restored.confidence)
    if np.array_equal(crop, before.crop):
        return before
    # Only the pasted region is moved and mixed. The flow is computed on the whole crop, since that region does not show
    # what enters it.
    here, there = pasted_part(len(crop), 1, mask), pasted_part(len(crop), len(image) // len(crop), mask)
    now, last = crop[here], before.crop[here]
    flow = motion(before.crop * np.float32(255), crop * np.float32(255), fast=True).of(*here)
    changed = np.abs(now - warp_by_motion(last, flow)).mean(2) * 255 / _CHANGE
    alpha = config.weight * flow.visible * np.exp(-np.square(changed))
    if restored.confidence is not None:
        alpha = alpha * (1 - cv2.resize(restored.confidence, crop.shape[1::-1])[here])
    new = image[there]
    # Blurred, so that no edge of the visibility mask shows.
    alpha = cv2.resize(cv2.GaussianBlur(alpha.astype(np.float32), (0, 0), 2.0), new.shape[1::-1])
    old = warp_by_motion(
        before.image[there], flow, sharp=True
    )  # linear sampling, repeated in every frame, would blur it
    mixed = image.copy()
    mixed[there] = _restore_contrast(new + alpha[..., None] * (old - new), new, config.contrast)
    return BlendState(crop, mixed, restored.confidence)


def _restore_contrast(mixed: FloatArray, image: FloatArray, amount: float) -> FloatArray:
    """Raises the finest detail of a mixture to the local variance of the new face.

    A mixture of textures must keep their variance (Heitz and Neyret, HPG 2018, section 3). There it follows from the
    weights of independent textures; here it is measured, since the textures are related.
    """
    if amount == 0:
        return mixed
    fine, wanted = _fine(mixed), _fine(image)
    floor = np.float32(1e-6)  # flat regions stay flat
    gain = np.sqrt((_variance(wanted) + floor) / (_variance(fine) + floor)).clip(1, _MOST)
    return np.clip(mixed + (amount * (gain - 1) * fine)[..., None], 0, 1)


def _fine(image: FloatArray) -> FloatArray:
    luma = grey(image)
    return luma - cv2.GaussianBlur(luma, (0, 0), _FINE)


def _variance(fine: FloatArray) -> FloatArray:
    height, width = fine.shape
    small = resize(np.square(fine), -(-width // _COARSE), -(-height // _COARSE))
    small = cv2.GaussianBlur(small, (0, 0), _AROUND / _COARSE)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
