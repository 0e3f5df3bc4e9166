"""Temporal metrics: flicker, and errors of motion between neighbouring frames.

Frames are HWC float32 on the scale 0..255. A metric of frames applies to one pair; a clip's value is the mean over its
pairs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from likeness.errors import InputError
from likeness.ops.flow import Motion, warp_by_motion
from likeness.types import FloatArray

Points = npt.NDArray[np.floating]


def temporal_mse(before: FloatArray, now: FloatArray) -> float:
    """`tmse`: mean squared change from one frame to the next.

    A frozen clip has a value of 0, so on its own it favours blur. `temporal_error` and the excess over the true clip's
    value are more meaningful.
    """
    _check(before, now)
    return float(np.square(now - before).mean())


def temporal_error(before: FloatArray, now: FloatArray, true_before: FloatArray, true_now: FloatArray) -> float:
    """`tmse_gt`: mean squared error of the change from one frame to the next, relative to the true change."""
    _check(before, now, true_before, true_now)
    return float(np.square((now - before) - (true_now - true_before)).mean())


def warping_error(before: FloatArray, now: FloatArray, moved: Motion) -> float:
    """Mean squared difference between a frame and the previous one, warped to it, over points visible in both.

    Lai et al., ECCV 2018, eq. 13, with flow and occlusion from the true clip, so that blur does not corrupt the flow.

    Returns:
        The error; nan if no point is visible in both.
    """
    _check(before, now)
    if not moved.visible.any():
        return float("nan")
    return float(np.square(now - warp_by_motion(before, moved))[moved.visible].mean())


def jitter(landmarks: Points) -> float:
    """Mean length of the landmarks' second difference over time, in their pixels: 0 for steady motion.

    Args:
        landmarks: (T, 5, 2); a frame with nan is left out, as are differences that need it.

    Returns:
        The mean; nan if no three consecutive frames have landmarks.

    Raises:
        InputError: if the shape is wrong.

    Examples:
        >>> steady = np.arange(6.0)[:, None, None] * np.ones((1, 5, 2))  # a pixel a frame
        >>> jitter(steady)
        0.0
    """
    if landmarks.ndim != 3 or landmarks.shape[1:] != (5, 2):
        raise InputError(f"landmarks: got {landmarks.shape}, expected (T, 5, 2)")
    second = landmarks[2:] - 2 * landmarks[1:-1] + landmarks[:-2]
    lengths = np.linalg.norm(second, axis=2).mean(1)
    known = lengths[~np.isnan(lengths)]
    return float(known.mean()) if len(known) else float("nan")


def neighbour_distance(embeddings: Points) -> float:
    """Mean Euclidean distance between the embeddings (T, D) of neighbouring frames; nan for fewer than two frames."""
    return float(np.linalg.norm(np.diff(embeddings, axis=0), axis=1).mean()) if len(embeddings) > 1 else float("nan")


def identity_spread(embeddings: Points) -> float:
    """Mean Euclidean distance of embeddings (T, D) to their mean: how much the identity varies over a track."""
    return float(np.linalg.norm(embeddings - embeddings.mean(0), axis=1).mean())


def smooth(points: Points, alpha: float = 0.5) -> Points:
    """Smooths landmarks over time by exponential averages forward and backward, whose mean has no lag.

    Args:
        points: (T, 5, 2), without nan.
        alpha: weight of a new value in the running mean, 0..1; 1 changes nothing.
    """
    passes = []
    for order in (points, points[::-1]):
        means = [order[0]]
        for value in order[1:]:
            means.append(alpha * value + (1 - alpha) * means[-1])
        passes.append(np.stack(means))
    smoothed: Points = (passes[0] + passes[1][::-1]) / 2
    return smoothed


def _check(*frames: FloatArray) -> None:
    shapes = {f.shape for f in frames}
    if len(shapes) > 1 or frames[0].ndim != 3 or frames[0].shape[2] != 3:
        raise InputError(f"frames: got {sorted(shapes)}, expected HWC frames of one shape")
