"""Crop jitter, exposure and softness."""

from __future__ import annotations

import io
import math

import cv2
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image
from scipy.ndimage import gaussian_filter

from likeness.data.augment import change_exposure, jitter_crop, sample_jitter, soften
from likeness.data.synthetic_faces import draw_face


class FixedGenerator:
    """A generator that returns given values: the lens's part, the chance of a JPEG, the interpolation, the quality."""

    def __init__(self, lens: float, chance: float, interpolation: int = 1, quality: int = 80) -> None:
        self.lens, self.chance = lens, chance
        self.integer = [quality, interpolation] if chance < 0.4 else [interpolation]

    def uniform(self, low: float, high: float) -> float:
        assert low <= self.lens <= high
        return self.lens

    def random(self) -> float:
        return self.chance

    def integers(self, *bounds: int) -> int:
        return self.integer.pop(0)


def softened(factor: float, *values: float) -> np.ndarray:
    face = draw_face(512, 1)
    before = face.copy()
    soft = soften(face, factor, FixedGenerator(*values))  # type: ignore[arg-type]
    assert_array_equal(face, before)
    return soft


@pytest.mark.parametrize(("index", "mode"), enumerate((cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)))
def test_without_a_lens_soften_downscales_and_enlarges(index: int, mode: int) -> None:
    small = cv2.resize(draw_face(512, 1), (256, 256), interpolation=cv2.INTER_AREA)
    assert_array_equal(softened(2, -0.3, 0.9, index), cv2.resize(small, (512, 512), interpolation=mode))


def test_with_the_lens_alone_soften_is_a_gaussian_blur() -> None:
    sigma = math.sqrt(3**2 - 1) / 2
    expected = gaussian_filter(draw_face(512, 1).astype(float), (sigma, sigma, 0), mode="mirror", truncate=3)
    assert np.abs(softened(3, 1.2, 0.9) - expected).max() < 3


def test_with_both_parts_soften_splits_the_factor() -> None:
    """A factor of 4, half of it by the lens, is a factor of 2 each."""
    face = cv2.GaussianBlur(draw_face(512, 1), (0, 0), math.sqrt(3) / 2, borderType=cv2.BORDER_REFLECT_101)
    small = cv2.resize(face, (256, 256), interpolation=cv2.INTER_AREA)
    assert_array_equal(softened(4, 0.5, 0.9), cv2.resize(small, (512, 512), interpolation=cv2.INTER_CUBIC))


def test_soften_stores_some_files_as_jpeg() -> None:
    file = io.BytesIO()
    small = cv2.resize(draw_face(512, 1), (256, 256), interpolation=cv2.INTER_AREA)
    Image.fromarray(small).save(file, "JPEG", quality=80)
    expected = cv2.resize(np.asarray(Image.open(file)), (512, 512), interpolation=cv2.INTER_CUBIC)
    assert np.abs(softened(2, -0.3, 0.1).astype(int) - expected).max() <= 6  # two JPEG libraries round differently
    assert np.abs(softened(2, -0.3, 0.9).astype(int) - expected).max() > 6


def test_a_factor_of_one_changes_nothing() -> None:
    for lens in (-0.5, 0.5, 1.5):
        assert_array_equal(softened(1, lens, 0.9), draw_face(512, 1))


def dots(points: np.ndarray) -> np.ndarray:
    """White dots on black."""
    image = np.zeros((512, 512, 3), np.uint8)
    for x, y in points:
        cv2.circle(image, (int(x), int(y)), 6, (255, 255, 255), -1)
    return image


def dot_centres(image: np.ndarray) -> np.ndarray:
    """Centres of the dots, from top to bottom."""
    count, _, _, centres = cv2.connectedComponentsWithStats((image[..., 0] > 60).astype(np.uint8))
    return centres[1:count][np.argsort(centres[1:count, 1])]


def test_jitter_fills_its_ranges() -> None:
    """Two dots give angle, scale and shift of every sample."""
    points = np.array([(255.5, 155.5), (255.5, 355.5)]).round()
    image = dots(points)
    measured = []
    for seed in range(150):
        top, bottom = dot_centres(jitter_crop(image, sample_jitter(np.random.default_rng(seed))))
        arrow, shift = bottom - top, (top + bottom) / 2 - points.mean(0)
        measured.append((np.degrees(np.arctan2(arrow[0], arrow[1])), np.hypot(*arrow) / 200, *shift / 512))
    angle, scale, x, y = np.array(measured).T
    for name, values, bound, error in (
        ("angle", angle, 4, 0.2),
        ("scale", scale - 1, 0.04, 0.004),
        ("x", x, 0.02, 0.002),
        ("y", y, 0.02, 0.002),
    ):
        assert np.abs(values).max() <= bound + error, name
        assert values.max() > 0.85 * bound, name
        assert values.min() < -0.85 * bound, name


def test_exposure_is_one_gain_for_each_channel() -> None:
    image = np.full((4, 4, 3), 100, np.uint8)
    for seed in range(20):
        out = change_exposure(image, np.random.default_rng(seed)).astype(float)
        assert (out == out[0, 0]).all()
        assert 30 < out.min() <= out.max() < 135
        assert out[0, 0].max() / out[0, 0].min() < 1.3
