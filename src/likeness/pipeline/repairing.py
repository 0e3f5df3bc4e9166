"""What the pipeline does about obstructions and damage: mark, protect, fill."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import cv2
import numpy as np

from likeness.nets.obstructions import ObstructionNet
from likeness.ops.geometry import warp
from likeness.ops.mask import template_mask
from likeness.pipeline.state import AlignedFace, Clock, Context, FrameContext, GuardedFace, MeasuredFace
from likeness.stages.obstructions import classify, mark, marked, protection, remarks
from likeness.stages.repair.damage import find_damage, read_mask
from likeness.stages.repair.inpainters import INPAINTERS, join
from likeness.types import Decision, FaceProfile, FloatArray, Mask, Pixels, Restored

_LEAST = 0.0005  # unknown fraction of a face from which Expert-T fills it
_SOFT = 1.5  # pixels of 256 over which a filled part is blended in


def repair_picture(pixels: Pixels, context: Context, clock: Clock) -> tuple[Pixels, Mask | None]:
    """Fills what the options ask for in a whole picture.

    Args:
        pixels: HWC uint8 or uint16; not changed.
        context: networks and options.
        clock: of the frame.

    Returns:
        The filled picture and its filled pixels (H, W); `pixels` and None where there is nothing to fill.

    Raises:
        InputError: if the user's mask does not fit.
    """
    config, net = context.config.repair, context.models.obstructions
    if not config.in_picture and config.file is None:
        return pixels, None
    with clock.stage("repair"):
        shown = pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
        if config.file is not None:
            unknown = read_mask(config.file, *pixels.shape[:2])
        else:
            unknown = find_damage(shown, config.in_picture, partial(classify, _loaded(net)))
        if not unknown.any():
            return pixels, None
        filled = join(shown, INPAINTERS[config.inpainter].load(None)(shown, unknown), unknown)
    if pixels.dtype == np.uint8:
        return filled, unknown
    return np.where(filled != shown, filled.astype(np.uint16) * 257, pixels), unknown


def mark_obstructions(face: AlignedFace, profile: FaceProfile, now: FrameContext) -> FaceProfile:
    """The profile with what lies over the face, where the options need it."""
    net, file = now.file.models.obstructions, now.file
    if net is None or profile.width < file.config.route.skip_below:
        return profile
    last = face.track.assessment if face.track else None
    with now.clock.stage("obstructions"):
        found = mark(net, face.crop.image, last.profile.obstructions if last else None)
    words = remarks(found.fractions, file.config.composite.protect)
    return replace(profile, obstructions=found, remarks=(*profile.remarks, *words))


def unknown_part(face: MeasuredFace, now: FrameContext) -> Mask | None:
    """Pixels of a face's crop that are to be filled, (256, 256); None: nothing."""
    config, size, found = now.file.config.repair, face.crop.size, face.profile.obstructions
    unknown: Mask = np.zeros((size, size), np.bool_)
    if now.damage is not None:
        warped = warp(now.damage.astype(np.float32), face.crop.matrix, (size, size), border=cv2.BORDER_CONSTANT)
        unknown |= np.asarray(warped > 0.2)
    if config.on_face and found is not None:
        unknown |= marked(found, config.on_face, size)
    inside = unknown[template_mask(size, now.file.config.composite.shape) > 0.5]
    return unknown if inside.mean() > _LEAST else None


def decide_repair(decision: Decision, face: MeasuredFace, now: FrameContext) -> tuple[Decision, Mask | None]:
    """Sends a face with unknown pixels to Expert-T, unless it is left alone or the user chose another expert.

    Returns:
        The decision, and what `unknown_part` gives.
    """
    unknown = unknown_part(face, now)
    if unknown is None or decision.route == "skip" or "expert_t" not in now.file.models.experts:
        return decision, unknown
    reason = f"{decision.reason}; repair: {unknown.mean():.1%} of its crop is invented"
    return replace(decision, expert="expert_t", reason=reason), unknown


def invented(restored: Restored, unknown: Mask) -> Restored:
    """A filled face with no confidence where it was filled."""
    if restored.confidence is None:
        return restored
    height, width = restored.confidence.shape
    known = 1 - cv2.resize(unknown.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return replace(restored, confidence=restored.confidence * known)


def paste_weight(face: GuardedFace, now: FrameContext) -> FloatArray | None:
    """How much of a restored face is pasted, (S, S) in [0, 1]; None = all of it.

    Protected obstructions keep the background's pixels. Of a face that is only enlarged, what was filled is pasted.
    """
    assert face.final is not None
    size, found = face.final.shape[0], face.profile.obstructions
    weight: FloatArray | None = None
    if now.file.config.composite.protect and found is not None:
        kept = protection(found, size)
        if face.unknown is not None and now.file.config.repair.on_face:
            kept = kept * (1 - _filled(face.unknown, size))
        weight = 1 - kept if kept.any() else None
    if face.unknown is not None and face.decision.route == "resize":
        filled = _filled(face.unknown, size)
        weight = filled if weight is None else weight * filled
    return weight


def _filled(unknown: Mask, size: int) -> FloatArray:
    """The unknown pixels of a crop at another size, with a soft edge outside of them, 0..1."""
    wide = cv2.dilate(unknown.astype(np.float32), np.ones((5, 5)))
    soft = cv2.GaussianBlur(wide, (0, 0), _SOFT)
    return np.clip(cv2.resize(soft, (size, size), interpolation=cv2.INTER_LINEAR), 0, 1)


def _loaded(net: ObstructionNet | None) -> ObstructionNet:
    assert net is not None  # `load_models` reads it where `repair` needs it
    return net
