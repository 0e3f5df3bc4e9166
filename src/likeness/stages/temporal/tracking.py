"""Tracking: which face of this frame is which face of the last one, and where it lies between detections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from likeness.stages.temporal.state import TrackState
from likeness.types import Faces, FloatArray, Pixels


def follow_tracks(tracks: Sequence[TrackState], before: Pixels, now: Pixels) -> list[TrackState]:
    """Moves tracks to the next grey frame (HW uint8); those that the optical flow loses are dropped.

    A part of the last detection's correction is applied in each frame: applied at once, the face would jump.
    """
    kept = []
    for track in tracks:
        width = 2 * float(np.linalg.norm(track.landmarks[1] - track.landmarks[0]))
        landmarks = track_landmarks(before, now, track.landmarks, max(width, 12.0))
        if landmarks is None:
            continue
        if track.correction_frames > 0:
            step = track.correction / track.correction_frames
            landmarks = (landmarks + step).astype(np.float32)
            rest = (track.correction - step).astype(np.float32)
            track = replace(track, correction=rest, correction_frames=track.correction_frames - 1)
        shift = landmarks.mean(0) - track.landmarks.mean(0)
        kept.append(replace(track, landmarks=landmarks, box=(track.box + np.tile(shift, 2)).astype(np.float32)))
    return kept


def associate(
    tracks: Sequence[TrackState], faces: Faces, match: float, correct_over: int, next_id: int
) -> tuple[list[TrackState], int]:
    """Joins the faces of a detection to the tracks by overlap, best first; the rest become new tracks.

    A track that two detections in a row missed ends.

    Args:
        tracks: of this frame.
        faces: detected in it.
        match: smallest IoU.
        correct_over: frames over which a track moves to its detection.
        next_id: next free number.

    Returns:
        The tracks, and the next free number.
    """
    overlaps = iou(np.array([t.box for t in tracks]).reshape(-1, 4), faces.boxes)
    pairs: dict[int, int] = {}
    while overlaps.size and overlaps.max() >= match:
        t, f = divmod(int(overlaps.argmax()), overlaps.shape[1])
        pairs[t] = f
        overlaps[t, :] = -1
        overlaps[:, f] = -1
    result = []
    for t, track in enumerate(tracks):
        if t in pairs:
            f = pairs[t]
            correction = (faces.landmarks[f] - track.landmarks).astype(np.float32)
            result.append(
                replace(
                    track,
                    box=faces.boxes[f],
                    score=float(faces.scores[f]),
                    look=str(faces.looks[f]),
                    correction=correction,
                    correction_frames=correct_over,
                    missed=0,
                )
            )
        elif track.missed < 1:
            result.append(replace(track, missed=track.missed + 1))
    for f in range(len(faces)):
        if f not in pairs.values():
            score, look = float(faces.scores[f]), str(faces.looks[f])
            result.append(TrackState(next_id, faces.landmarks[f], faces.boxes[f], score, look=look))
            next_id += 1
    return result, next_id


def iou(a: FloatArray, b: FloatArray) -> FloatArray:
    """Intersection over union of (N, 4) and (M, 4) xyxy boxes, (N, M)."""
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    overlap = np.clip(bottom_right - top_left, 0, None).prod(2)
    area_a, area_b = ((x[:, 2:] - x[:, :2]).prod(1) for x in (a, b))
    return np.asarray(overlap / np.maximum(area_a[:, None] + area_b[None] - overlap, 1e-6), np.float32)


def track_landmarks(before: Pixels, now: Pixels, landmarks: FloatArray, width: float) -> FloatArray | None:
    """Moves five landmarks from one grey frame to the next.

    A grid of points over the face is tracked by pyramidal Lucas-Kanade (Bouguet 2000) forward and backward. Points that
    do not return are dropped, and a similarity through the rest (RANSAC) moves the landmarks together: five points
    alone would wobble.

    Args:
        before, now: HW uint8.
        landmarks: (5, 2).
        width: face width in pixels.

    Returns:
        (5, 2) float32, or None where too few points could be tracked.
    """
    centre = landmarks.mean(0)
    reach = np.linspace(-0.45, 0.45, 7) * width
    grid = np.stack(np.meshgrid(reach, reach), -1).reshape(-1, 2) + centre
    points = np.concatenate([grid, landmarks]).astype(np.float32)[:, None]
    window = int(np.clip(width / 5, 9, 31)) | 1
    there, tracked = _lucas_kanade(before, now, points, window)
    back, returned = _lucas_kanade(now, before, there, window)
    error = np.linalg.norm(back - points, axis=2)[:, 0]
    good = tracked & returned & (error < max(0.5, 0.01 * width))
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
    """Positions of (N, 1, 2) points in `now`, and which of them could be tracked."""
    # OpenCV's annotations require the initial guess, which may be left out.
    there, status, _ = cv2.calcOpticalFlowPyrLK(
        before, now, points, cast(FloatArray, None), winSize=(window, window), maxLevel=3
    )
    return np.asarray(there, np.float32), np.asarray(status)[:, 0] == 1
