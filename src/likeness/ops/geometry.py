"""Similarities, the FFHQ five-point template, and anti-aliased warps.

Pixel centres lie at integers everywhere, so scaling an image by k maps p to (p + 1/2) k - 1/2.
Matrices are (2, 3) float64 and map source pixels to target pixels.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from likeness.errors import InputError
from likeness.types import FloatArray

Matrix = npt.NDArray[np.float64]

# Left eye, right eye, nose, left and right mouth corner of FFHQ-aligned faces at 512 px, as published
# with the face restoration helpers of the field (facexlib, CodeFormer).
TEMPLATE_512: Matrix = np.array(
    [
        (192.98138, 239.94708),
        (318.90277, 240.1936),
        (256.63416, 314.01935),
        (201.26117, 371.41043),
        (313.08905, 371.15118),
    ]
)
EYE_DISTANCE_256 = 62.96  # pixels between the template's eyes at 256


def rescale_points(points: npt.NDArray[np.floating], factor: float) -> Matrix:
    """Moves (..., 2) points along when their image is resized by `factor` (half-pixel convention).

    Examples:
        >>> rescale_points(np.array([[0, 0], [511, 511]]), 0.5).tolist()
        [[-0.25, -0.25], [255.25, 255.25]]
    """
    return (np.asarray(points, np.float64) + 0.5) * factor - 0.5


def template(size: int) -> Matrix:
    """The FFHQ five points for a crop of `size` pixels, (5, 2)."""
    return rescale_points(TEMPLATE_512, size / 512)


def feature_bumps(size: int) -> Matrix:
    """Where left eye, right eye, nose and mouth lie in an aligned crop: (4, size, size), each 0..1 with its peak there.

    Alignment puts the features in the same place in every crop, so the template's landmarks serve. The bumps are
    Gaussians with a spread of a quarter (eyes), a fifth (nose) and two fifths (mouth) of the eye distance.
    """
    points = template(size)
    centres = np.concatenate([points[:3], points[3:].mean(0, keepdims=True)])
    spread = np.array([[0.25, 0.18], [0.25, 0.18], [0.2, 0.2], [0.4, 0.2]]) * (points[1, 0] - points[0, 0])
    axis = np.arange(size)
    x, y = (np.exp(-0.5 * ((axis - centres[:, i : i + 1]) / spread[:, i : i + 1]) ** 2) for i in (0, 1))
    return np.einsum("kh,kw->khw", y, x)


def similarity(landmarks: npt.NDArray[np.floating], size: int) -> Matrix:
    """Least-squares similarity (4 degrees of freedom, no reflection) from five points to the template.

    Closed form: with both point sets centred and read as complex numbers, the best rotation and
    scale is the ratio sum(conj(a) b) / sum(|a|^2) (Umeyama 1991, the planar case).

    Args:
        landmarks: (5, 2) x y in source pixels.
        size: edge length of the crop.

    Returns:
        (2, 3) float64, source to crop pixels.

    Raises:
        InputError: if the points are not finite or coincide.

    Examples:
        >>> landmarks = 2 * template(512) + 10  # a face twice as large, elsewhere in the picture
        >>> matrix = similarity(landmarks, 512)
        >>> round(scale_of(matrix), 6), matrix[:, 2].round(6).tolist()
        (0.5, [-5.0, -5.0])
    """
    source = np.asarray(landmarks, np.float64)
    if source.shape != (5, 2) or not np.isfinite(source).all():
        raise InputError(f"landmarks: got {source.tolist()}, expected five finite x y points")
    target = template(size)
    a = (source - source.mean(0)) @ np.array([1, 1j])
    b = (target - target.mean(0)) @ np.array([1, 1j])
    spread = float((np.abs(a) ** 2).sum())
    if spread < 1e-6:
        raise InputError("landmarks: all five points coincide, so there is no face to align")
    z = (a.conj() @ b) / spread
    linear = np.array([[z.real, -z.imag], [z.imag, z.real]])
    return np.hstack([linear, (target.mean(0) - linear @ source.mean(0))[:, None]])


def scale_of(matrix: Matrix) -> float:
    """Scale of a similarity: target pixels per source pixel."""
    return float(math.sqrt(abs(np.linalg.det(matrix[:, :2]))))


def invert(matrix: Matrix) -> Matrix:
    """The inverse affine map, (2, 3).

    Examples:
        >>> matrix = similarity(2 * template(512), 512)
        >>> bool(np.allclose(transform(invert(matrix), transform(matrix, template(512))), template(512)))
        True
    """
    linear = np.linalg.inv(matrix[:, :2])
    return np.hstack([linear, -linear @ matrix[:, 2:]])


def resized(matrix: Matrix, source: float = 1.0, target: float = 1.0) -> Matrix:
    """The same map after its source image was resized by `source` and its target by `target`."""
    linear = matrix[:, :2] * (target / source)
    # p' = (p + 1/2) target - 1/2 with p = A q + t and q = (q' + 1/2) / source - 1/2
    q0 = np.full(2, 0.5 / source - 0.5)
    offset = (matrix[:, :2] @ q0 + matrix[:, 2] + 0.5) * target - 0.5
    return np.hstack([linear, offset[:, None]])


def transform(matrix: Matrix, points: npt.NDArray[np.floating]) -> Matrix:
    """Maps (N, 2) points."""
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def warp(
    image: FloatArray,
    matrix: Matrix,
    size: tuple[int, int],
    border: int = cv2.BORDER_REFLECT_101,
    linear: bool = False,
) -> FloatArray:
    """Warps with cubic (or linear) interpolation, anti-aliased where the map shrinks.

    A shrinking map is sampled on a finer grid first, whose cells are then averaged: a plain warp
    would alias and the face would shimmer from frame to frame.

    Args:
        image: HW or HWC float32.
        matrix: (2, 3), source to target pixels.
        size: (width, height) of the result.
        border: OpenCV border mode.
        linear: bilinear instead of cubic, for masks, which must not overshoot.

    Returns:
        float32 of the given size; cubic values may overshoot the source's range a little.
    """
    factor = max(1, math.ceil(1 / scale_of(matrix) - 0.25))
    flags = cv2.INTER_LINEAR if linear else cv2.INTER_CUBIC
    if 1 in image.shape[:2] and border == cv2.BORDER_REFLECT_101:
        border = cv2.BORDER_REPLICATE  # the same for a single row or column, on which OpenCV never returns
    fine = resized(matrix, target=factor)
    width, height = size
    out = cv2.warpAffine(image, fine, (width * factor, height * factor), flags=flags, borderMode=border)
    if factor > 1:
        out = cv2.resize(out, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(out, np.float32)


def face_width(landmarks: FloatArray) -> float:
    """w: face width in source pixels, 2 x 62.96 / s with s the scale of source to 256-crop.

    Twice the eye distance of a frontal face; unlike a detector's box it does not depend on the
    detector, and unlike the raw eye distance it does not shrink when the head turns.

    Examples:
        >>> round(face_width(template(256)), 2)
        125.92
    """
    return 2 * EYE_DISTANCE_256 / scale_of(similarity(landmarks, 256))


def enlarged(crop: FloatArray, size: int) -> FloatArray:
    """Bicubic enlargement of a square crop, clipped to [0, 1]; what the residual is taken against."""
    if crop.shape[0] == size:
        return crop
    return np.clip(cv2.resize(crop, (size, size), interpolation=cv2.INTER_CUBIC), 0, 1)


def mix(crop: FloatArray, restored: FloatArray, alpha: float) -> FloatArray:
    """`alpha` of the restored face, the rest the enlarged input; 1 returns the restored face itself."""
    if alpha == 1:
        return restored
    base = enlarged(crop, restored.shape[0])
    return base + np.float32(alpha) * (restored - base)


def reduced(face: FloatArray, size: int) -> FloatArray:
    """A square picture of twice the size at `size`, clipped to [0, 1]; one of `size` itself as it is.

    Read half-way between its pixels by a cubic (Keys 1981): a mean of 2 x 2 costs twice as much of the sharpness.

    Raises:
        InputError: if it is neither.
    """
    if face.shape[0] == size:
        return face
    if face.shape[:2] != (2 * size, 2 * size):
        raise InputError(f"face: got {face.shape}, expected a square of {size} or {2 * size} pixels")
    return np.clip(cv2.resize(face, (size, size), interpolation=cv2.INTER_CUBIC), 0, 1)
