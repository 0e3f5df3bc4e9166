"""Does a restored clip flicker, and does it move as the true one does: errors between neighbouring frames.

Frames are HWC float32 on the scale 0..255. All figures are of one pair of neighbours; a clip's is their mean.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from likeness.errors import InputError
from likeness.ops.flow import Motion, carried
from likeness.types import FloatArray

Points = npt.NDArray[np.floating]


def temporal_mse(before: FloatArray, now: FloatArray) -> float:
    """`tmse`: mean squared change from a frame to the next.

    A frozen clip has none, so alone it rewards blur; `temporal_error` and the excess over the true clip's tell more.
    """
    _check(before, now)
    return float(np.square(now - before).mean())


def temporal_error(before: FloatArray, now: FloatArray, true_before: FloatArray, true_now: FloatArray) -> float:
    """`tmse_gt`: mean squared error of the change from a frame to the next, against the true one's."""
    _check(before, now, true_before, true_now)
    return float(np.square((now - before) - (true_now - true_before)).mean())


def warping_error(before: FloatArray, now: FloatArray, moved: Motion) -> float:
    """Mean squared difference of a frame and the last one moved along, where both see the point.

    Lai et al., ECCV 2018, eq. 13, with flow and occlusion of the true clip, so that blur does not make the flow fail.

    Returns:
        The error, nan where no point is seen in both.
    """
    _check(before, now)
    if not moved.visible.any():
        return float("nan")
    return float(np.square(now - carried(before, moved))[moved.visible].mean())


def jitter(landmarks: Points) -> float:
    """Mean length of the landmarks' second difference over time, in their pixels: 0 for steady motion.

    Args:
        landmarks: (T, 5, 2); frames with a nan are left out with both neighbours.

    Returns:
        The mean, nan for fewer than three frames in a row.
    """
    if landmarks.ndim != 3 or landmarks.shape[1:] != (5, 2):
        raise InputError(f"landmarks: got {landmarks.shape}, expected (T, 5, 2)")
    second = landmarks[2:] - 2 * landmarks[1:-1] + landmarks[:-2]
    lengths = np.linalg.norm(second, axis=2).mean(1)
    known = lengths[~np.isnan(lengths)]
    return float(known.mean()) if len(known) else float("nan")


def neighbour_distance(embeddings: Points) -> float:
    """Mean Euclidean distance of (T, D) embeddings of neighbouring frames; nan for fewer than two."""
    return float(np.linalg.norm(np.diff(embeddings, axis=0), axis=1).mean()) if len(embeddings) > 1 else float("nan")


def identity_spread(embeddings: Points) -> float:
    """Mean Euclidean distance of (T, D) embeddings to their mean: how much a person changes over a track."""
    return float(np.linalg.norm(embeddings - embeddings.mean(0), axis=1).mean())


def smooth(points: Points, share: float = 0.5) -> Points:
    """Landmarks over time smoothed forward, backward, and averaged, so that nothing lags.

    Args:
        points: (T, 5, 2), without nan.
        share: weight of a new value against the running mean, 0..1; 1 changes nothing.
    """
    runs = []
    for order in (points, points[::-1]):
        run = [order[0]]
        for value in order[1:]:
            run.append(share * value + (1 - share) * run[-1])
        runs.append(np.stack(run))
    found: Points = (runs[0] + runs[1][::-1]) / 2
    return found


def _check(*frames: FloatArray) -> None:
    shapes = {f.shape for f in frames}
    if len(shapes) > 1 or frames[0].ndim != 3 or frames[0].shape[2] != 3:
        raise InputError(f"frames: got {sorted(shapes)}, expected HWC frames of one shape")
