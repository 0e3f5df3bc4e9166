"""The profile against pictures whose light, compression and pose are known; the quality under known degradations."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from likeness.errors import WeightsError
from likeness.ops.geometry import TEMPLATE_512, rescale_points
from likeness.ops.quality import block_spectra, high_band
from likeness.stages.align import align
from likeness.stages.measure import measure
from likeness.stages.profile import QualityFit, contours, profile_face, read_quality, remarks
from likeness.types import FaceProfile, Pose
from likeness.weights.manifest import released

FIT = QualityFit({"sharpness": -0.5}, 2.0)
ALIGNED = rescale_points(TEMPLATE_512, 0.5).astype(np.float32)
GOOD = FaceProfile(
    width=150, qvol=300, sharpness=300, detail=9, blockiness=0.1, noise=1, resolution=1.2, exposure=0.5, entropy=7,
    crushed=0, burnt=0, imbalance=0, pose=Pose(0, 0, 0), symmetry=0, high_band=8, jpeg_quality=None,
    contours=(40, 30, 30),
)  # fmt: skip


def profile(pixels: np.ndarray, landmarks: np.ndarray = ALIGNED, fit: QualityFit = FIT) -> FaceProfile:
    crop = align(pixels, landmarks, 256)
    return profile_face(pixels, crop, landmarks, measure(pixels, crop), fit)


def halves(left: int, right: int) -> np.ndarray:
    image = np.full((256, 256, 3), left, np.uint8)
    image[:, 128:] = right
    return image


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (64, 64, {"exposure": 64 / 255, "entropy": 0, "crushed": 0, "burnt": 0, "imbalance": 0}),
        (50, 150, {"entropy": 1, "imbalance": 0.5, "crushed": 0, "burnt": 0}),
        (150, 50, {"imbalance": -0.5}),
        (0, 120, {"crushed": 0.5, "burnt": 0, "imbalance": 1}),
        (255, 120, {"crushed": 0, "burnt": 0.5}),
        (0, 0, {"exposure": 0, "crushed": 1, "imbalance": 0}),
    ],
)
def test_light_of_a_known_picture(left: int, right: int, expected: dict[str, float]) -> None:
    found = profile(halves(left, right))
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, abs=0.04), name


def test_resolution_symmetry_and_pose_of_a_known_face(portrait, points) -> None:
    small = cv2.resize(portrait, (256, 256), interpolation=cv2.INTER_AREA)
    large, half = profile(portrait, points), profile(small, rescale_points(points, 0.5).astype(np.float32))
    assert large.resolution == pytest.approx(large.width / 125.92)
    assert half.resolution == pytest.approx(large.resolution / 2, rel=1e-3)
    assert (half.pose.yaw, half.pose.roll) == pytest.approx((large.pose.yaw, large.pose.roll), abs=0.01)
    assert large.pose.roll == pytest.approx(np.degrees(np.arctan2(2.7, 43)), abs=2)  # the line between the eyes
    turned = ALIGNED.copy()
    turned[2, 0] += 12
    frontal = profile(halves(90, 110))
    assert frontal.symmetry < 0.03 < profile(halves(90, 110), turned).symmetry


@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("quality", [10, 25, 50, 75, 85])
def test_jpeg_quality_is_that_of_the_encoder(portrait, points, quality: int, subsampling: int) -> None:
    stored = io.BytesIO()
    Image.fromarray(portrait).save(stored, "JPEG", quality=quality, subsampling=subsampling)
    assert profile(np.asarray(Image.open(stored)), points).jpeg_quality == pytest.approx(quality, abs=3)


@pytest.mark.parametrize("change", ["none", "best", "resized", "moved"])
def test_without_a_trace_of_jpeg_there_is_no_quality(portrait, points, change: str) -> None:
    stored = io.BytesIO()
    Image.fromarray(portrait).save(stored, "JPEG", quality=99 if change == "best" else 60)
    pixels = portrait if change == "none" else np.asarray(Image.open(stored))
    if change == "resized":
        pixels, points = cv2.resize(pixels, (600, 600)), rescale_points(points, 600 / 512).astype(np.float32)
    if change == "moved":
        pixels, points = pixels[3:, 5:], points - np.float32([5, 3])
    assert profile(pixels, points).jpeg_quality is None


def test_the_high_band_is_that_of_known_waves() -> None:
    y, x = np.mgrid[:64, :64]
    low, high = np.cos(np.pi * (x % 8 + 0.5) / 8), np.cos(np.pi * 7 * (x % 8 + 0.5) / 8) * np.cos(np.pi * (y % 8 + 0.5))
    fine = np.cos(np.pi * 7 * (x % 8 + 0.5) / 8) * np.cos(np.pi * 7 * (y % 8 + 0.5) / 8)
    assert high_band(block_spectra((50 * low).astype(np.float32))) == pytest.approx(0, abs=0.1)
    assert high_band(block_spectra((50 * fine).astype(np.float32))) == pytest.approx(100, abs=0.1)
    # A coefficient of a wave along x alone is sqrt(2) times that of a product of two cosines of the same height.
    both = (3 * low + 4 * np.sqrt(2) * fine).astype(np.float32)
    assert high_band(block_spectra(both)) == pytest.approx(80, abs=0.1)
    assert high_band(block_spectra(np.full((16, 16), 7, np.float32))) == 0
    assert np.isfinite(high).all()


def test_contours_stand_out_from_noise_and_noise_does_not() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(100, 12, (256, 256)).astype(np.float32)
    assert max(contours(noise)) < 1
    y, x = np.mgrid[:256, :256]
    rings = np.where(np.hypot(x - 131, y - 160) % 50 < 25, 60, 160).astype(np.float32)
    assert min(contours(rings)) > 5
    soft = [contours(cv2.GaussianBlur(rings, (0, 0), sigma)) for sigma in (0.3, 1, 2, 4)]
    for octave in zip(*soft, strict=True):
        assert list(octave) == sorted(octave, reverse=True)
    assert min(contours(rings + noise - 100)[:2]) > 5
    assert contours(np.full((256, 256), 80, np.float32)) == (0, 0, 0)


def blurred(image: np.ndarray, amount: float) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), amount)


def noisy(image: np.ndarray, amount: float) -> np.ndarray:
    values = image + np.random.default_rng(0).normal(0, amount, image.shape)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def shrunk(image: np.ndarray, amount: float) -> np.ndarray:
    small = cv2.resize(image, None, fx=1 / amount, fy=1 / amount, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize(
    ("degrade", "amounts"),
    [
        pytest.param(blurred, (1, 2, 4), id="blurred"),
        pytest.param(noisy, (6, 14, 30), id="noisy"),
        pytest.param(shrunk, (1.5, 3, 6), id="shrunk"),
    ],
)
def test_the_released_quality_falls_with_known_degradations(portrait, points, degrade, amounts) -> None:
    fit = read_quality(released("quality"))
    values = [profile(portrait, points, fit).quality]
    values += [profile(degrade(portrait, amount), points, fit).quality for amount in amounts]
    assert values == sorted(values, reverse=True)
    assert values[0] - values[-1] > 0.05
    assert 0 <= min(values) <= max(values) <= 1


def test_quality_is_one_less_the_fitted_distance() -> None:
    fit = QualityFit({"sharpness": -0.5, "contours_64": -0.25}, 4.0)
    logit = 4 - 0.5 * np.log1p(300) - 0.25 * np.log1p(30)
    assert fit.distance(GOOD) == pytest.approx(1 / (1 + np.exp(-logit)))
    found = profile(halves(60, 90), fit=fit)
    assert found.quality == pytest.approx(1 - fit.distance(found))


def test_inputs_are_unchanged_and_depth_does_not_matter(portrait, points) -> None:
    kept = points.copy()  # the portrait itself is read-only
    shallow, deep = profile(portrait, points), profile(portrait.astype(np.uint16) * 257, points)
    np.testing.assert_array_equal(points, kept)
    assert deep.exposure == pytest.approx(shallow.exposure, abs=1e-3)
    assert deep.high_band == pytest.approx(shallow.high_band, rel=1e-3)
    assert deep.pose == shallow.pose


@pytest.mark.parametrize("size", [(9, 9), (1, 40), (40, 1)])
def test_a_face_at_the_border_of_a_tiny_picture(size: tuple[int, int]) -> None:
    found = profile(np.full((*size, 3), 120, np.uint8), ALIGNED / 8)
    assert (found.high_band, found.jpeg_quality) == (0, None)
    assert found.exposure == pytest.approx(120 / 255, abs=0.01)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, []),
        ({"pose": Pose(68.4, 0, 0)}, ["turned 68° to the right"]),
        ({"pose": Pose(-29, 30, 90)}, []),
        ({"exposure": 0.1}, ["dark: median luma 0.10"]),
        ({"crushed": 0.3}, ["black without detail over 30% of the face"]),
        ({"burnt": 0.12}, ["burnt out over 12% of the face"]),
        ({"imbalance": 0.5}, ["its left half lies in shadow"]),
        ({"imbalance": -0.5}, ["its right half lies in shadow"]),
        ({"jpeg_quality": 20}, ["strongly compressed: JPEG quality about 20"]),
        ({"jpeg_quality": 80}, []),
    ],
    ids=str,
)
def test_remarks(change: dict[str, object], words: list[str]) -> None:
    assert remarks(replace(GOOD, **change)) == words


@pytest.mark.parametrize(
    "text", ["", "[]", '{"weights": {"sharpness": -1}}', '{"weights": {"beauty": 1}, "intercept": 0}'], ids=str
)
def test_a_damaged_fit_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "quality.json"
    file.write_text(text)
    with pytest.raises(WeightsError, match="quality"):
        read_quality(file)
    with pytest.raises(WeightsError, match="cannot read"):
        read_quality(tmp_path / "none.json")


def test_the_released_fit_was_made_by_the_command() -> None:
    stored = json.loads(released("quality").read_text())
    assert "likeness.tasks.fit_quality" in stored["command"]
    assert stored["samples"] > 100
