"""Head pose against faces that were projected with known angles."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from likeness.errors import InputError
from likeness.ops.geometry import TEMPLATE_512
from likeness.ops.pose import FACE_3D, head_pose
from likeness.types import Pose


def projected(yaw: float, pitch: float, roll: float, distance: float = 20.0) -> np.ndarray:
    """Landmarks of a head turned down, then to the picture's right, then clockwise, before a pinhole camera."""
    turn = Rotation.from_euler("ZYX", [roll, -yaw, pitch], degrees=True)
    points = turn.apply(FACE_3D - FACE_3D.mean(0)) + np.array([0, 0, distance])
    return points[:, :2] / points[:, 2:] * 1500 + [640, 360]


@pytest.mark.parametrize("yaw", [-75, -45, -20, 0, 20, 45, 75])
@pytest.mark.parametrize(("pitch", "roll"), [(0, 0), (20, 0), (-20, 15), (10, -80), (0, 170)])
def test_known_angles(yaw: float, pitch: float, roll: float) -> None:
    pose = head_pose(projected(yaw, pitch, roll))
    assert (pose.yaw, pose.pitch, pose.roll) == pytest.approx((yaw, pitch, roll), abs=0.3)


@pytest.mark.parametrize("distance", [8, 80])
def test_another_distance_of_the_camera_costs_a_few_degrees(distance: float) -> None:
    pose = head_pose(projected(40, 10, 5, distance))
    assert (pose.yaw, pose.pitch, pose.roll) == pytest.approx((40, 10, 5), abs=5)


def test_directions_as_they_are_seen() -> None:
    """A nose that moves to the right, or down, belongs to a head turned that way."""
    right, down = TEMPLATE_512.copy(), TEMPLATE_512.copy()
    right[2, 0] += 40
    down[2, 1] += 25
    assert head_pose(right).yaw > 10
    assert head_pose(down).pitch > 5
    clockwise = TEMPLATE_512 + np.array([(0, -20), (0, 20), (0, 0), (0, -20), (0, 20)])
    assert head_pose(clockwise).roll > 5


@pytest.mark.parametrize("seed", range(8))
def test_mirrored_landmarks_have_the_mirrored_pose(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = projected(rng.uniform(-45, 45), rng.uniform(-20, 20), rng.uniform(-20, 20)) + rng.normal(0, 2, (5, 2))
    mirrored = (points * [-1, 1] + [1280, 0])[[1, 0, 2, 4, 3]]
    a, b = head_pose(points), head_pose(mirrored)
    assert (b.yaw, b.pitch, b.roll) == pytest.approx((-a.yaw, a.pitch, -a.roll), abs=0.05)


@pytest.mark.parametrize("angle", [-120, -30, -5, 5, 30, 120])
def test_a_turned_picture_changes_the_roll_alone(angle: float) -> None:
    points = projected(25, 10, 0)
    matrix = cv2.getRotationMatrix2D((100, 50), -angle, 0.4)
    a, b = head_pose(points), head_pose(points @ matrix[:, :2].T + matrix[:, 2])
    assert (b.yaw, b.pitch, b.roll - a.roll) == pytest.approx((a.yaw, a.pitch, angle), abs=0.05)


@pytest.mark.parametrize("seed", range(20))
def test_any_five_points_have_finite_angles(seed: int) -> None:
    points = np.random.default_rng(seed).uniform(0, 100, (5, 2))
    before = points.copy()
    pose = head_pose(points)
    assert isinstance(pose, Pose)
    assert np.isfinite([pose.yaw, pose.pitch, pose.roll]).all()
    np.testing.assert_array_equal(points, before)


def test_points_without_a_face_are_refused() -> None:
    with pytest.raises(InputError, match="coincide"):
        head_pose(np.full((5, 2), 3.0))
