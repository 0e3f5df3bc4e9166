"""Landmark distance: units, missing faces, and the choice of the face."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from likeness.errors import InputError
from likeness.metrics.landmarks import find_landmarks, landmark_distance, nearest_face
from likeness.ops import geometry
from likeness.types import Faces, Pixels


def _faces(*centres: tuple[float, float], landmarks: np.ndarray | None = None) -> Faces:
    boxes = np.array([(x - 5, y - 5, x + 5, y + 5) for x, y in centres], np.float32)
    points = np.array([np.full((5, 2), c) for c in centres], np.float32) if landmarks is None else landmarks
    return Faces(boxes, np.ones(len(centres), np.float32), points.astype(np.float32))


class _Detector:
    """Detects the template in bright frames and nothing in dark ones."""

    def detect(self, frames: Sequence[Pixels]) -> list[Faces]:
        return [
            _faces((128, 128), landmarks=geometry.template(f.shape[0])[None]) if f.mean() > 127 else Faces.empty()
            for f in frames
        ]


def test_nearest_face_is_the_one_closest_to_the_centre() -> None:
    faces = _faces((10, 10), (60, 52), (90, 40))
    assert nearest_face(faces, (50, 50)).landmarks[0, 0].tolist() == [60, 52]
    assert len(nearest_face(Faces.empty(), (50, 50))) == 0


def test_landmarks_are_in_pixels_at_512_and_nan_without_a_face() -> None:
    crops = torch.stack([torch.ones(3, 256, 256), torch.zeros(3, 256, 256)])
    points = find_landmarks(_Detector(), crops)
    np.testing.assert_allclose(points[0], geometry.TEMPLATE_512, atol=1e-4)
    assert points[1].isnan().all()
    np.testing.assert_allclose(find_landmarks(_Detector(), torch.ones(1, 3, 512, 512))[0], points[0], atol=1e-4)


def test_landmark_distance_is_the_mean_over_five_points() -> None:
    truth = torch.from_numpy(geometry.TEMPLATE_512)[None].repeat(3, 1, 1)
    output = truth.clone()
    output[0, :, 0] += 3
    output[0, :, 1] += 4  # five points moved by 5 px
    output[1, 2, 0] += 5  # one of five moved by 5 px
    output[2] = torch.nan
    values = landmark_distance(output, truth)
    assert values[:2].tolist() == pytest.approx([5, 1])
    assert values[2].isnan()
    with pytest.raises(InputError, match=r"B, 5, 2"):
        landmark_distance(output[:, :4], truth[:, :4])
