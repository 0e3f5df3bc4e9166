"""Geometry metric: distance between the detected landmarks of output and truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from likeness.errors import InputError
from likeness.metrics.images import check_batch
from likeness.ops.geometry import rescale_points
from likeness.types import Faces, Pixels

UNIT_SIZE = 512  # distances are stated in pixels of a 512 px crop, whatever the crop's size


class Detector(Protocol):
    """A face detector with five landmarks."""

    def detect(self, frames: Sequence[Pixels]) -> list[Faces]:
        """The faces of each frame, HWC uint8."""
        ...


def nearest_face(faces: Faces, centre: tuple[float, float]) -> Faces:
    """The face whose box's centre lies nearest to `centre` (x, y); empty if there are no faces."""
    if not len(faces):
        return faces
    centres = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
    return faces.select([int(np.linalg.norm(centres - np.asarray(centre), axis=1).argmin())])


def find_landmarks(detector: Detector, crops: Tensor) -> Tensor:
    """Landmarks of the face nearest to the centre of each aligned crop.

    Args:
        detector: finds five landmarks.
        crops: (B, 3, S, S) in [0, 1].

    Returns:
        (B, 5, 2) float64, x y in pixels of the crop resized to 512; nan if no face was found.
    """
    check_batch(crops, "crops")
    size = crops.shape[-1]
    frames = (crops.detach().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    centre = (size - 1) / 2
    points = np.full((len(crops), 5, 2), np.nan)
    for row, faces in zip(points, detector.detect(list(frames)), strict=True):
        face = nearest_face(faces, (centre, centre))
        if len(face):
            row[:] = rescale_points(face.landmarks[0], UNIT_SIZE / size)
    return torch.from_numpy(points)


def landmark_distance(output: Tensor, truth: Tensor) -> Tensor:
    """Mean Euclidean distance of the five points, in the landmarks' unit.

    Args:
        output: (B, 5, 2), nan if no face was found.
        truth: the same.

    Returns:
        (B,), lower is better; nan if either has no face.

    Raises:
        InputError: if the shapes are not (B, 5, 2).
    """
    if output.shape != truth.shape or output.shape[1:] != (5, 2):
        raise InputError(f"landmarks: got {tuple(output.shape)} and {tuple(truth.shape)}, expected (B, 5, 2) twice")
    return (output - truth).square().sum(2).sqrt().mean(1)
