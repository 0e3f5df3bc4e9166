"""Whether landmarks can be right: they must have the shape of a face, and stay where they are in changed looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np

from likeness.ops.geometry import TEMPLATE_512, Matrix, scale_of, similarity, transform
from likeness.types import Faces, FloatArray, Pixels

# Distances are in eye distances of a frontal face of that size. Measured with MTCNN on 94 faces of real photos
# (experiments/coverage): misfit up to 0.45 (profiles); moves 0.08 in the median, 0.26 at 95 %. The two beyond `MOVES`
# have their landmarks on a hand and outside the picture; in clips such ones lay on hair and on a collar.
MISFIT = 0.6  # largest distance from the frontal template
MOVES = 0.4  # median over the looks of the largest move of a landmark
SURE = 0.99  # score under which landmarks must agree better
UNSURE_MOVES = 0.15
PIXELS = 4.0  # source pixels that a small face's landmarks may move; added to these bounds in quadrature
LOOK_SCORE = 0.5  # of a face in a look: whether there is one is settled, the question is where its landmarks lie
LOW = 0.62  # mean height of an unsure face's landmarks, from the top of its box down; 0.51 to 0.64 in real faces
AGAIN = 0.5  # of these bounds, for a face that was in doubt: each new frame is a new chance to pass
Detect = Callable[[Sequence[Pixels]], list[Faces]]
_LOST = 1.0  # the move where a look finds no face
_EYES = float(np.linalg.norm(TEMPLATE_512[1] - TEMPLATE_512[0]))
_CROP, _FACE = 160, 80  # edges in pixels of the looks, and of the box in them
# Angle in degrees, shift in box edges, zoom, grey and equalised.
_LOOKS = (
    (-15.0, 0.0, 0.0, 1.0, False),
    (15.0, 0.0, 0.0, 1.0, False),
    (0.0, -0.06, 0.08, 0.9, False),
    (0.0, 0.0, 0.0, 1.0, True),
    (-12.0, 0.0, 0.0, 1.0, True),
)


def doubt(detect: Detect, pixels: Pixels, face: Faces, doubted: bool = False) -> str:
    """Why the landmarks of a face are implausible; empty where they are plausible.

    Args:
        detect: of the detector that found the face, from `LOOK_SCORE` on.
        pixels: HWC uint8 or uint16, upright as the face was found.
        face: one face.
        doubted: whether it was implausible in an earlier frame; its landmarks must agree better then.
    """
    misfit = misfit_of(face)
    if misfit > MISFIT:
        return f"landmarks lie {misfit:.2f} eye distances off the shape of a face"
    sure = float(face.scores[0]) >= SURE
    top, bottom = face.boxes[0, 1::2]
    height = float(face.landmarks[0, :, 1].mean() - top) / float(bottom - top)
    if not sure and height > LOW:
        return f"landmarks lie low, at {height:.2f} of the box's height (score {face.scores[0]:.3f})"
    moves = moves_of(detect, pixels, face)
    bound = np.hypot(MOVES if sure else UNSURE_MOVES, PIXELS * scale_of(similarity(face.landmarks[0], 512)) / _EYES)
    if moves > bound * (AGAIN if doubted else 1):
        return f"landmarks move by {moves:.2f} eye distances between shifted looks (score {face.scores[0]:.3f})"
    return ""


def misfit_of(face: Faces) -> float:
    """The largest distance of a face's landmarks from the aligned template, in eye distances."""
    matrix = similarity(face.landmarks[0], 512)
    off = transform(matrix, face.landmarks[0].astype(np.float64)) - TEMPLATE_512
    return float(np.linalg.norm(off, axis=1).max()) / _EYES


def moves_of(detect: Detect, pixels: Pixels, face: Faces) -> float:
    """How far the landmarks move in changed looks, in eye distances: the median of the largest moves.

    Args:
        detect, pixels, face: as for `doubt`.
    """
    points, matrix = face.landmarks[0].astype(np.float64), similarity(face.landmarks[0], 512)
    return float(np.median([_move(detect, look, points, to, matrix) for look, to in _looks(pixels, face.boxes[0])]))


def _move(detect: Detect, look: Pixels, points: FloatArray, to: Matrix, matrix: Matrix) -> float:
    """How far the landmarks lie from those found in a look, in eye distances; of several faces the nearest counts."""
    (found,) = detect([look])
    expected, unit = transform(to, points), _EYES * scale_of(to) / scale_of(matrix)
    moves = [float(np.linalg.norm(other - expected, axis=1).max()) / unit for other in found.landmarks]
    return min([*moves, _LOST])


def _looks(pixels: Pixels, box: FloatArray) -> Iterator[tuple[Pixels, Matrix]]:
    """Crops about a face, and the similarity from the picture to each."""
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    centre, edge = (box[:2] + box[2:]).astype(np.float64) / 2, float((box[2:] - box[:2]).max())
    # Only the surroundings are filtered, and only where they shrink.
    low = np.clip((centre - 2 * edge).astype(int), 0, None)
    high = np.ceil(centre + 2 * edge).astype(int)
    near, middle = pixels[low[1] : high[1], low[0] : high[0]], centre - low
    scale = _FACE / edge
    if scale < 1:
        near = cv2.GaussianBlur(near, (0, 0), 0.45 / scale)
    for angle, right, down, zoom, grey in _LOOKS:
        matrix = np.asarray(cv2.getRotationMatrix2D((0.0, 0.0), angle, scale * zoom), np.float64)
        matrix[:, 2] = _CROP / 2 - matrix[:, :2] @ (middle + np.array([right, down]) * edge)
        look = cv2.warpAffine(near, matrix, (_CROP, _CROP), borderMode=cv2.BORDER_REFLECT_101)
        if grey:
            look = cv2.cvtColor(cv2.equalizeHist(cv2.cvtColor(look, cv2.COLOR_RGB2GRAY)), cv2.COLOR_GRAY2RGB)
        matrix[:, 2] -= matrix[:, :2] @ low
        yield np.asarray(look), matrix
