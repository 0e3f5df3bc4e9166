"""Similarities, templates and warps against known answers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from likeness.errors import InputError
from likeness.ops import geometry


def turned(points: np.ndarray, degrees: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    angle = np.radians(degrees)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return scale * points @ rotation.T + np.array(shift)


MOVES = {
    "still": (0, 1, (0, 0)),
    "moved": (0, 1, (31.5, -12.25)),
    "turned": (30, 1, (0, 0)),
    "upside down": (180, 1, (600, 600)),
    "enlarged": (0, 3.5, (0, 0)),
    "all at once": (-47, 0.2, (-80, 1000)),
}


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("size", [256, 512])
def test_similarity_undoes_a_known_move(name: str, size: int) -> None:
    degrees, scale, shift = MOVES[name]
    source = turned(geometry.template(size), degrees, scale, shift)
    matrix = geometry.similarity(source, size)
    assert_allclose(geometry.transform(matrix, source), geometry.template(size), atol=1e-9)
    assert geometry.scale_of(matrix) == pytest.approx(1 / scale, rel=1e-12)
    angle = np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))
    assert (angle + degrees + 180) % 360 - 180 == pytest.approx(0, abs=1e-9)


def test_similarity_is_the_least_squares_one() -> None:
    """Against the normal equations of the four unknowns (a, b, tx, ty)."""
    points = geometry.template(256) + np.random.default_rng(0).normal(0, 9, (5, 2))
    rows, target = [], []
    for (x, y), (u, v) in zip(points, geometry.template(256), strict=True):
        rows += [[x, -y, 1, 0], [y, x, 0, 1]]
        target += [u, v]
    a, b, tx, ty = np.linalg.lstsq(np.array(rows), np.array(target), rcond=None)[0]
    assert_allclose(geometry.similarity(points, 256), [[a, -b, tx], [b, a, ty]], atol=1e-9)


def test_a_mirrored_face_is_not_mirrored_back() -> None:
    mirrored = geometry.template(256) * [-1, 1]
    assert np.linalg.det(geometry.similarity(mirrored, 256)[:, :2]) > 0


BAD_LANDMARKS = {
    "four points": np.zeros((4, 2)),
    "not a number": np.full((5, 2), np.nan),
    "all in one place": np.full((5, 2), 7.0),
}


@pytest.mark.parametrize("name", BAD_LANDMARKS)
def test_bad_landmarks_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="landmarks"):
        geometry.similarity(BAD_LANDMARKS[name], 256)


def test_template_of_half_the_size_lies_between_the_pixels() -> None:
    """Pixel p of 256 is the mean of pixels 2p and 2p + 1 of 512."""
    assert_allclose(geometry.template(512), geometry.TEMPLATE_512)
    assert_allclose(2 * geometry.template(256) + 0.5, geometry.TEMPLATE_512)
    left, right = geometry.template(256)[:2]
    assert np.hypot(*(right - left)) == pytest.approx(geometry.EYE_DISTANCE_256, abs=0.01)


def test_rescaling_points_there_and_back() -> None:
    points = np.array([[0, 0], [10.5, 3.25]])
    assert_allclose(geometry.rescale_points(geometry.rescale_points(points, 3), 1 / 3), points, atol=1e-12)
    # The outer edge of the picture, half a pixel before the first centre, stays the edge.
    assert_allclose(geometry.rescale_points(np.array([-0.5, -0.5]), 7), [-0.5, -0.5])


MATRIX = np.array([[1.5, -0.4, 20.0], [0.4, 1.5, -7.0]])


def test_inverse_is_exact() -> None:
    points = np.random.default_rng(1).uniform(-50, 500, (20, 2))
    back = geometry.transform(geometry.invert(MATRIX), geometry.transform(MATRIX, points))
    assert_allclose(back, points, atol=1e-10)


@pytest.mark.parametrize("source", [0.5, 1, 2, 4])
@pytest.mark.parametrize("target", [0.5, 1, 2, 4])
def test_resized_moves_points_as_resizing_both_pictures_does(source: float, target: float) -> None:
    points = np.random.default_rng(2).uniform(0, 100, (10, 2))
    expected = geometry.rescale_points(geometry.transform(MATRIX, points), target)
    found = geometry.transform(geometry.resized(MATRIX, source, target), geometry.rescale_points(points, source))
    assert_allclose(found, expected, atol=1e-9)


@pytest.fixture
def smooth() -> np.ndarray:
    """A picture without fine detail, so that all interpolations agree."""
    y, x = np.mgrid[:96, :96] / 96
    return np.stack([np.sin(5 * x + y), np.cos(4 * y), x * y], -1).astype(np.float32)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_warp_is_a_resize_where_the_map_is_one(smooth: np.ndarray, factor: int) -> None:
    """A half-pixel error would show as a shift: the picture's slope is up to 0.05 a pixel."""
    larger = geometry.warp(smooth, geometry.resized(np.eye(2, 3), target=factor), (96 * factor, 96 * factor))
    expected = cv2.resize(smooth, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    inner = slice(4 * factor, -4 * factor)
    # warpAffine rounds positions to 1/32 pixel.
    assert_allclose(larger[inner, inner], expected[inner, inner], atol=2e-3)
    smaller = geometry.warp(smooth, geometry.resized(np.eye(2, 3), target=1 / factor), (96 // factor, 96 // factor))
    expected = cv2.resize(smooth, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
    assert_allclose(smaller[2:-2, 2:-2], expected[2:-2, 2:-2], atol=2e-3)


def test_warp_there_and_back(smooth: np.ndarray) -> None:
    matrix = np.array([[0.9, -0.3, 20.0], [0.3, 0.9, -10.0]])
    there = geometry.warp(smooth, matrix, (96, 96))
    back = geometry.warp(there, geometry.invert(matrix), (96, 96))
    assert_allclose(back[40:60, 40:60], smooth[40:60, 40:60], atol=5e-3)


@pytest.mark.parametrize("factor", [2, 3, 4, 7])
def test_a_shrunken_checkerboard_is_grey(factor: int) -> None:
    board = (np.indices((336, 336)).sum(0) % 2).astype(np.float32)
    matrix = geometry.resized(np.array([[1, 0, 0.3], [0, 1, 0.3]]), target=1 / factor)
    grey = geometry.warp(board, matrix, (336 // factor, 336 // factor))[4:-4, 4:-4]
    plain = cv2.warpAffine(board, matrix, (336 // factor, 336 // factor), flags=cv2.INTER_CUBIC)[4:-4, 4:-4]
    assert grey.mean() == pytest.approx(0.5, abs=0.02)
    assert np.abs(grey - 0.5).max() < 0.25
    assert grey.std() < 0.5 * plain.std()


def test_masks_do_not_overshoot() -> None:
    edge = np.zeros((40, 40), np.float32)
    edge[:, 20:] = 1
    matrix = np.array([[1.7, 0.2, 3], [-0.2, 1.7, 5]])
    assert geometry.warp(edge, matrix, (60, 60)).max() > 1.01
    mask = geometry.warp(edge, matrix, (60, 60), linear=True)
    assert mask.min() >= 0
    assert mask.max() <= 1


def test_inputs_unchanged(smooth: np.ndarray) -> None:
    points, matrix, image = geometry.template(256), MATRIX.copy(), smooth.copy()
    geometry.similarity(points, 256)
    geometry.warp(smooth, matrix, (30, 30))
    geometry.resized(matrix, 2, 3)
    geometry.invert(matrix)
    assert_array_equal(points, geometry.template(256))
    assert_array_equal(matrix, MATRIX)
    assert_array_equal(smooth, image)


def test_reduced_is_the_inverse_of_enlarged_on_smooth_pictures() -> None:
    y, x = np.mgrid[:64, :64] / 64
    smooth = np.stack([np.sin(4 * x), np.cos(5 * y), x * y], -1).astype(np.float32) / 3 + 0.5
    twice = geometry.enlarged(smooth, 128)
    assert_allclose(geometry.reduced(twice, 64)[2:-2, 2:-2], smooth[2:-2, 2:-2], atol=2e-3)
    assert geometry.reduced(smooth, 64) is smooth
    assert geometry.reduced(np.full((8, 8, 3), 2.0, np.float32), 4).max() == 1
    with pytest.raises(InputError, match="32 or 64 pixels"):
        geometry.reduced(twice, 32)
