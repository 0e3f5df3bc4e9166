"""Pictures between two frames, for a higher frame rate.

An interpolator takes two neighbouring frames once and then returns the picture at any phase between them, so that the
motion is estimated once a pair. `INTERPOLATORS` holds those to choose from.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from likeness.ops.color import grey8
from likeness.ops.flow import pixel_grid, read
from likeness.ops.splat import splat
from likeness.registry import Entry, Registry
from likeness.types import FloatArray, Pixels

Between = Callable[[float], Pixels]
"""The picture at a phase, 0 (the earlier frame) to 1 (the later one)."""
Interpolator = Callable[[Pixels, Pixels], Between]
"""Two frames, HWC uint8 or uint16 of one shape, with 3 or 4 channels."""

_FLOW_SIDE = 640  # pixels of the longer side, beyond which the motion is estimated on smaller pictures
_MATCH = 10.0  # grey levels: softness of the weights by how well two ends of a motion match
_SEEN = 0.05  # weight under which no motion passes through a pixel


def average(before: Pixels, after: Pixels) -> Between:
    """The mean of both frames, weighted by phase: what moves is seen twice."""

    def at(phase: float) -> Pixels:
        return _integer((1 - phase) * before.astype(np.float32) + phase * after.astype(np.float32), before)

    return at


def splat_motion(before: Pixels, after: Pixels) -> Between:
    """Both frames moved to the phase along the optical flow between them, and mixed.

    DIS flow (Kroeger et al., ECCV 2016) in both directions is splatted forward to the phase: where several motions
    meet in a pixel, those whose ends match weigh more (softmax splatting, Niklaus and Liu, CVPR 2020). The flow is
    splatted instead of the colours, which are then read at its two ends and stay sharp. Where these disagree, as at
    occlusions, the result leans towards the mean of both frames.
    """
    height, width = before.shape[:2]
    scale = min(1.0, _FLOW_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    a, b = (cv2.resize(grey8(x[..., :3]), size, interpolation=cv2.INTER_AREA) for x in (before, after))
    if min(size) < 16:  # smaller than DIS takes
        return average(before, after)
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    forth, back = (np.asarray(dis.calc(x, y, None), np.float32) for x, y in ((a, b), (b, a)))  # type: ignore[call-overload]
    weights = _match(a, b, forth), _match(b, a, back)
    full = before.astype(np.float32), after.astype(np.float32)
    still = _soft(np.abs(full[0] - full[1]).mean(-1))
    larger = np.array([width / size[0], height / size[1]], np.float32)
    level = np.float32(np.iinfo(before.dtype).max / 255)

    def at(phase: float) -> Pixels:
        flow = _passing(forth, back, weights, phase)
        flow = np.asarray(cv2.resize(flow, (width, height)) * larger, np.float32)
        grid = pixel_grid(width, height)
        left = read(full[0], grid - np.float32(phase) * flow, cv2.INTER_CUBIC)
        right = read(full[1], grid + np.float32(1 - phase) * flow, cv2.INTER_CUBIC)
        moved = (1 - phase) * left + phase * right
        # Both ends of a motion show the same point: the closer they are, compared with no motion, the more it counts.
        doubt = (_soft(np.abs(left - right).mean(-1)) + level) / (2 * (still + level))
        trust = (1 / (1 + doubt))[..., None]
        mixed = (1 - phase) * full[0] + phase * full[1]
        return _integer(np.asarray(mixed + trust * (moved - mixed), np.float32), before)

    return at


def _passing(forth: FloatArray, back: FloatArray, weights: tuple[FloatArray, FloatArray], phase: float) -> FloatArray:
    """(H, W, 2) motion from the earlier to the later frame of what passes through each pixel at the phase."""
    left, left_weight = splat(forth, phase * forth, (1 - phase) * weights[0])
    right, right_weight = splat(-back, (1 - phase) * back, phase * weights[1])
    weight = (left_weight + right_weight)[..., None]
    known = (weight >= _SEEN).astype(np.float32)
    flow = known * (left + right) / np.maximum(weight, 1e-6)
    around = cv2.GaussianBlur(flow, (0, 0), 5) / (cv2.GaussianBlur(known, (0, 0), 5)[..., None] + 1e-6)
    return np.where(known > 0, flow, around).astype(np.float32)


def _match(grey: Pixels, other: Pixels, flow: FloatArray) -> FloatArray:
    """(H, W) above 0 to 1: how well each pixel matches the point that it moves to."""
    height, width = grey.shape
    moved = read(other.astype(np.float32), pixel_grid(width, height) + flow, cv2.INTER_LINEAR)
    return np.asarray(np.exp(-cv2.GaussianBlur(np.abs(grey - moved), (0, 0), 1) / _MATCH), np.float32)


def _soft(difference: FloatArray) -> FloatArray:
    return np.asarray(cv2.GaussianBlur(difference, (0, 0), 2), np.float32)


def _integer(values: FloatArray, like: Pixels) -> Pixels:
    return np.clip(np.rint(values), 0, np.iinfo(like.dtype).max).astype(like.dtype)


_READS, _WRITES = "two neighbouring frames", "the picture at any phase between them"
INTERPOLATORS: Registry[None, Interpolator] = Registry("video.interpolator")
INTERPOLATORS.add(
    Entry("splat", _READS, _WRITES, "about 0.2 s a picture of 640x360 on one core", lambda _: splat_motion)
)
INTERPOLATORS.add(Entry("average", _READS, _WRITES, "nothing", lambda _: average))
