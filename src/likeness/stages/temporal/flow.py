"""Landmarks carried from frame to frame by sparse optical flow."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from likeness.types import FloatArray, Pixels


def grey8(pixels: Pixels) -> Pixels:
    """HWC frame to HW uint8, what the flow works on."""
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)


def carry(before: Pixels, now: Pixels, landmarks: FloatArray, width: float) -> FloatArray | None:
    """Moves five landmarks from one grey frame to the next.

    A grid of points over the face is followed by pyramidal Lucas-Kanade (Bouguet 2000) forward and
    backward; those that do not return are dropped, and a similarity through the rest (RANSAC) moves
    the landmarks together: five points alone would wobble.

    Args:
        before, now: HW uint8.
        landmarks: (5, 2).
        width: face width in pixels.

    Returns:
        (5, 2) float32, or None where too few points could be followed.
    """
    centre = landmarks.mean(0)
    reach = np.linspace(-0.45, 0.45, 7) * width
    grid = np.stack(np.meshgrid(reach, reach), -1).reshape(-1, 2) + centre
    points = np.concatenate([grid, landmarks]).astype(np.float32)[:, None]
    window = int(np.clip(width / 5, 9, 31)) | 1
    there, found = _lucas_kanade(before, now, points, window)
    back, returned = _lucas_kanade(now, before, there, window)
    error = np.linalg.norm(back - points, axis=2)[:, 0]
    good = found & returned & (error < max(0.5, 0.01 * width))
    if good.sum() < 8:
        return None
    moved, start = there[good, 0], points[good, 0]
    if np.array_equal(moved, start):
        return landmarks.copy()  # a still picture stays exactly still
    cv2.setRNGSeed(0)
    matrix, inliers = cv2.estimateAffinePartial2D(start, moved, ransacReprojThreshold=max(1.0, 0.02 * width))
    if matrix is None or int(inliers.sum()) < 8:
        return None
    return (landmarks @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def _lucas_kanade(
    before: Pixels, now: Pixels, points: FloatArray, window: int
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Where (N, 1, 2) points went, and which of them could be followed."""
    # OpenCV's own annotations do not know that the points to be found may be left out.
    there, found, _ = cv2.calcOpticalFlowPyrLK(
        before, now, points, cast(FloatArray, None), winSize=(window, window), maxLevel=3
    )
    return np.asarray(there, np.float32), np.asarray(found)[:, 0] == 1
