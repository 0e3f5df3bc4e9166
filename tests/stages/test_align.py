"""The crop shows what the frame shows, and the way back ends where it began."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from likeness.errors import InputError
from likeness.ops.geometry import TEMPLATE_512, face_width, invert, resized, transform
from likeness.stages.align import align, align_with
from likeness.stages.composite import Patch, paste


def rotated(points: np.ndarray, degrees: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    a = np.deg2rad(degrees)
    turn = scale * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    return ((points - 256) @ turn.T + shift).astype(np.float32)


@pytest.mark.parametrize(("degrees", "scale"), [(0, 0.4), (17, 0.3), (-140, 0.9), (90, 1.7)])
def test_a_perfect_face_lands_on_the_template(degrees, scale):
    landmarks = rotated(TEMPLATE_512, degrees, scale, (400.25, 380.5))
    crop = align(np.zeros((800, 800, 3), np.uint8), landmarks, 256)
    # Half-pixel convention: the template at 256 is (p + 1/2) / 2 - 1/2.
    np.testing.assert_allclose(transform(crop.matrix, landmarks), (TEMPLATE_512 + 0.5) / 2 - 0.5, atol=1e-3)
    eyes = np.linalg.norm(TEMPLATE_512[1] - TEMPLATE_512[0]) * scale
    assert face_width(landmarks) == pytest.approx(2 * eyes, rel=1e-3)  # frontal: twice the eye distance


def test_a_turned_head_keeps_its_width():
    landmarks = TEMPLATE_512.astype(np.float32).copy()
    landmarks[:, 0] = (landmarks[:, 0] - 256) * 0.6 + 256  # seen from the side, the eyes come nearer
    eyes = float(np.linalg.norm(landmarks[1] - landmarks[0]))
    assert face_width(landmarks) > 1.25 * 2 * eyes


def test_pixels_agree_with_another_interpolator(portrait, points):
    smooth = cv2.GaussianBlur(portrait, (0, 0), 3)
    crop = align(smooth, points, 256)
    y, x = np.mgrid[0:256, 0:256].astype(float)
    p = transform(invert(crop.matrix), np.stack([x.ravel(), y.ravel()], 1))
    expected = np.stack(
        [map_coordinates(smooth[..., c] / 255.0, p.T[::-1], order=3, mode="mirror") for c in range(3)], -1
    )
    np.testing.assert_allclose(crop.image, expected.reshape(256, 256, 3), atol=0.012)


def test_shrinking_is_anti_aliased():
    checker = np.indices((1024, 1024)).sum(0) % 2 * 255
    frame = np.repeat(checker[..., None], 3, 2).astype(np.uint8)
    landmarks = rotated(TEMPLATE_512, 0, 1.8, (512, 512))
    inner = align(frame, landmarks, 64).image[8:-8, 8:-8]
    assert inner.std() < 0.03  # a plain warp would show a moire of full contrast
    assert inner.mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("upscale", [1, 2, 4])
@pytest.mark.parametrize("size", [256, 512])
def test_a_mark_in_the_crop_lands_on_its_pixel(portrait, points, upscale, size):
    crop = align(portrait, points, size)
    height, width = (s * upscale for s in portrait.shape[:2])
    background = np.full((height, width, 3), 90, np.uint8)
    # A soft spot, so that its centre of mass tells where it is to a fraction of a pixel.
    centre = np.array([0.47, 0.62]) * size
    y, x = np.mgrid[0:size, 0:size]
    spot = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * (size / 40) ** 2)).astype(np.float32) * 0.6
    seen = np.zeros((size, size, 3), np.float32)
    out, _ = paste(background, Patch(seen + spot[..., None], seen, crop.matrix), upscale, "feather")
    change = out[..., 0].astype(float) - 90
    yy, xx = np.mgrid[0:height, 0:width]
    found = np.array([(change * xx).sum(), (change * yy).sum()]) / change.sum()
    source = transform(invert(crop.matrix), centre[None])[0]
    expected = (source + 0.5) * upscale - 0.5
    np.testing.assert_allclose(found, expected, atol=0.05 * upscale)


@pytest.mark.parametrize("upscale", [1, 2, 4])
def test_matrices_invert_exactly(points, upscale):
    crop = align(np.zeros((300, 300, 3), np.uint8), points, 256)
    to_crop = resized(crop.matrix, source=upscale, target=2)
    there = transform(to_crop, np.array([[3.0, 4.0], [200.5, 17.25]]))
    np.testing.assert_allclose(transform(invert(to_crop), there), [[3.0, 4.0], [200.5, 17.25]], atol=1e-9)


def test_a_face_half_outside_is_mirrored_and_said(portrait, points):
    shifted = points - (points[:, 0].mean(), 0)  # its middle lies on the left border
    frame = np.ascontiguousarray(portrait[:, int(points[:, 0].mean()) :])
    crop = align(frame, shifted.astype(np.float32), 256)
    assert crop.inside == pytest.approx(0.5, abs=0.07)
    assert align(portrait, points, 256).inside == 1.0
    assert crop.image.min() >= 0
    assert crop.image.max() <= 1
    # What lies outside is the mirror image of what lies inside, about the border's pixel.
    p = np.array([[12.0, 120.0]])
    mirrored = transform(crop.matrix, p * (-1, 1))
    inside = transform(crop.matrix, p)
    (x0, y0), (x1, y1) = np.rint(mirrored[0]).astype(int), np.rint(inside[0]).astype(int)
    np.testing.assert_allclose(crop.image[y0, x0], crop.image[y1, x1], atol=0.06)


def test_far_outside_does_not_fail(portrait, points):
    crop = align(portrait, points + np.float32(5000), 256)
    assert crop.inside == 0
    assert np.isfinite(crop.image).all()


def test_depth_and_inputs(portrait, points):
    deep = portrait.astype(np.uint16) * 257
    np.testing.assert_allclose(align(deep, points, 256).image, align(portrait, points, 256).image, atol=1e-5)
    kept = points.copy()
    again = align(portrait, points, 256)
    np.testing.assert_array_equal(points, kept)
    np.testing.assert_array_equal(again.image, align_with(portrait, again.matrix, 256).image)


@pytest.mark.parametrize(
    ("landmarks", "message"),
    [(np.zeros((5, 2)), "coincide"), (np.full((5, 2), np.nan), "finite"), (np.zeros((4, 2)), "five")],
)
def test_what_is_no_face_is_refused(portrait, landmarks, message):
    with pytest.raises(InputError, match=message):
        align(portrait, landmarks.astype(np.float32), 256)
