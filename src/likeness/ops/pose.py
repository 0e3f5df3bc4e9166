"""Head pose from five landmarks by perspective-n-point.

Five points do not tell a camera, so one is assumed: it looks straight at the face from `DISTANCE` eye distances, about
1.3 m. Angles are therefore relative to the line of sight, wherever the face lies in the picture. Zero pose is that of
FFHQ's mean face.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from likeness.ops.geometry import TEMPLATE_512, Matrix, scale_of, similarity
from likeness.types import Pose

DISTANCE = 20.0
NOSE, MOUTH = 0.6, 0.1  # eye distances by which nose tip and mouth corners lie before the eyes


def _template() -> Matrix:
    """(5, 3) in eye distances, mirror-symmetric: x to the right, y down, z away from the camera, 0 between the eyes."""
    (left, right, nose, *mouth) = TEMPLATE_512
    eyes, unit = (left + right) / 2, right[0] - left[0]
    down, below = (nose[1] - eyes[1]) / unit, (np.mean(mouth, 0)[1] - eyes[1]) / unit
    half = (mouth[1][0] - mouth[0][0]) / unit / 2
    return np.array([(-0.5, 0, 0), (0.5, 0, 0), (0, down, -NOSE), (-half, below, -MOUTH), (half, below, -MOUTH)])


FACE_3D = _template()


def head_pose(landmarks: npt.NDArray[np.floating]) -> Pose:
    """The turn of a head, with the least reprojection error that Levenberg-Marquardt finds from an upright frontal one.

    Args:
        landmarks: (5, 2) left eye, right eye, nose, left and right mouth corner, in any picture's pixels.

    Raises:
        InputError: if the points are not finite or coincide.

    Examples:
        >>> pose = head_pose(TEMPLATE_512)
        >>> abs(pose.yaw) < 1, abs(pose.roll) < 1
        (True, True)
    """
    points = np.asarray(landmarks, np.float64)
    matrix = similarity(points, 512)
    focal = DISTANCE * np.hypot(*(TEMPLATE_512[1] - TEMPLATE_512[0])) / scale_of(matrix)
    camera = np.array([(focal, 0, 0), (0, focal, 0), (0, 0, 1)])
    turn = np.array([0, 0, -np.arctan2(matrix[1, 0], matrix[0, 0])])
    shift = np.array([0, 0, DISTANCE]) - cv2.Rodrigues(turn)[0] @ FACE_3D.mean(0)
    _, turn, _ = cv2.solvePnP(FACE_3D, points - points.mean(0), camera, None, turn, shift, useExtrinsicGuess=True)
    return angles(np.asarray(cv2.Rodrigues(turn)[0], np.float64))


def angles(rotation: npt.NDArray[np.floating]) -> Pose:
    """The angles of a (3, 3) rotation Rz(roll) Ry(-yaw) Rx(pitch).

    Roll comes last, so turning the picture changes it alone.

    Examples:
        >>> angles(np.eye(3))
        Pose(yaw=0.0, pitch=0.0, roll=0.0)
    """
    r = rotation
    yaw = np.arcsin(np.clip(r[2, 0], -1, 1))
    radians = (yaw, np.arctan2(r[2, 1], r[2, 2]), np.arctan2(r[1, 0], r[0, 0]))
    return Pose(*(float(np.degrees(x)) + 0.0 for x in radians))
