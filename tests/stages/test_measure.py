"""Width, sharpness, detail, noise and blocks against what was put into the picture."""

from __future__ import annotations

import io
import math

import cv2
import numpy as np
import pytest
from PIL import Image

from likeness.ops.geometry import TEMPLATE_512, rescale_points
from likeness.ops.quality import blockiness, detail, noise_sigma
from likeness.stages.align import align, align_with
from likeness.stages.measure import QVOL_SIZE, measure, noise_gain


def noisy(image: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    values = image.astype(np.float32) + np.random.default_rng(seed).normal(0, sigma, image.shape)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    stored = io.BytesIO()
    Image.fromarray(image).save(stored, "JPEG", quality=quality, subsampling=0)
    return np.asarray(Image.open(stored)).astype(np.float32)


@pytest.mark.parametrize("noise", [0, 5, 10])
def test_sharpness_keeps_the_order_of_blurs(portrait, points, noise):
    # Enlarged twice: a face of 160 px, soft enough that noise can hide what is left of its detail.
    frame = cv2.resize(portrait[:256, 100:356], (512, 512), interpolation=cv2.INTER_CUBIC)
    landmarks = rescale_points(points - np.float32([100, 0]), 2).astype(np.float32)
    values = []
    for sigma in (0, 1, 2, 4):
        blurred = cv2.GaussianBlur(frame, (0, 0), sigma) if sigma else frame
        shown = noisy(blurred, noise)
        values.append(measure(shown, align(shown, landmarks, 256)).sharpness)
    assert values == sorted(values, reverse=True)
    assert values[0] > 1.5 * values[1] > 1.5 * 1.5 * values[2]
    assert values[3] < 0.1 * values[0]


def test_raw_qvol_is_fooled_by_noise_and_sharpness_is_not():
    ramp = np.repeat(np.linspace(40, 200, 256)[None].repeat(256, 0)[..., None], 3, 2).astype(np.uint8)
    landmarks = rescale_points(TEMPLATE_512, 0.5).astype(np.float32)
    clean, poor = ramp, noisy(ramp, 5)
    before, after = (measure(x, align(x, landmarks, 256)) for x in (clean, poor))
    assert after.qvol > before.qvol + 20
    assert after.sharpness < 0.15 * after.qvol


@pytest.mark.parametrize("scene", ["flat", "ramp"])
@pytest.mark.parametrize("sigma", [1.0, 5.0, 12.0])
def test_noise_sigma_is_what_was_added(scene, sigma):
    plane = np.full((200, 240), 128.0) if scene == "flat" else np.add.outer(np.arange(200) * 0.3, np.arange(240) * 0.4)
    image = (plane + np.random.default_rng(3).normal(0, sigma, plane.shape)).astype(np.float32)
    assert noise_sigma(image) == pytest.approx(sigma, rel=0.03)
    assert noise_sigma(plane.astype(np.float32)) < 0.01


def test_noise_of_a_tiny_picture_is_none():
    assert noise_sigma(np.zeros((4, 30), np.float32)) == 0


@pytest.mark.parametrize("scale", [0.2, 0.45, 0.65, 0.9, 1.0, 1.6, 3.0])
def test_noise_gain_agrees_with_noise_sent_through_the_aligner(scale):
    """Monte-Carlo with other noise, other angles and shifts, and the aligner's own path."""
    rng = np.random.default_rng(11)
    gains = []
    for _ in range(6):
        side = math.ceil(QVOL_SIZE / scale * 1.6) + 20
        frame = np.clip(np.rint(rng.normal(30000, 2000, (side, side))), 0, 65535).astype(np.uint16)
        angle = rng.uniform(0.03, 0.6)
        linear = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        centre = side / 2 + rng.uniform(-1, 1, 2)
        matrix = np.hstack([linear, (QVOL_SIZE / 2 - linear @ centre)[:, None]])
        crop = align_with(np.repeat(frame[..., None], 3, 2), matrix, QVOL_SIZE).image[..., 0].astype(float) * 65535
        laplacian = crop[1:-1, 2:] + crop[1:-1, :-2] + crop[2:, 1:-1] + crop[:-2, 1:-1] - 4 * crop[1:-1, 1:-1]
        gains.append(laplacian.var() / 2000**2)
    assert noise_gain(scale) == pytest.approx(np.mean(gains), rel=0.12)


def test_noise_gain_of_a_mean_over_many_pixels():
    # White noise has Laplacian variance 4 + 16 = 20; a mean over k x k pixels divides it by k * k.
    assert noise_gain(1 / 8) == pytest.approx(20 / 64, rel=0.2)
    assert noise_gain(1.0) < 20


def test_detail_falls_with_blur(portrait, points):
    values = []
    for sigma in (0, 0.7, 1.5, 3):
        shown = cv2.GaussianBlur(portrait, (0, 0), sigma) if sigma else portrait
        values.append(measure(shown, align(shown, points, 256)).detail)
    assert values == sorted(values, reverse=True)
    assert values[0] > 7
    assert values[2] < 5


def test_detail_of_flat_and_of_pixel_noise():
    assert detail(np.full((64, 64), 90, np.float32)) == 0
    fine = np.indices((64, 64)).sum(0) % 2 * 255.0
    assert detail(fine.astype(np.float32)) == pytest.approx(100, abs=1)


@pytest.mark.parametrize("phase", [(0, 0), (3, 5), (7, 1)])
def test_blocks_are_found_wherever_the_grid_begins(portrait, phase):
    soft = cv2.GaussianBlur(portrait, (0, 0), 1)
    y, x = phase
    grey = {name: image[y : y + 200, x + 130 : x + 330].mean(2) for name, image in
            {"png": soft.astype(np.float32), "q95": jpeg(soft, 95), "q20": jpeg(soft, 20)}.items()}  # fmt: skip
    found = {name: blockiness(image.astype(np.float32)) for name, image in grey.items()}
    assert found["q20"] > 1
    assert found["q95"] < 0.5
    assert found["png"] < 0.5
    whole = blockiness(jpeg(soft, 20)[:200, 130:330].mean(2).astype(np.float32))
    assert found["q20"] == pytest.approx(whole, rel=0.25)


def test_stripes_are_no_blocks():
    stripes = np.tile((np.arange(160) // 8 % 2 * 100.0)[None], (160, 1)).astype(np.float32)
    assert blockiness(stripes) == 0
    assert blockiness(stripes + stripes.T) > 20
    assert blockiness(np.zeros((20, 90), np.float32)) == 0


@pytest.mark.parametrize("width", [40.0, 84.0, 150.0, 400.0])
def test_width_is_twice_the_eye_distance_of_a_frontal_face(width):
    eyes = float(np.linalg.norm(TEMPLATE_512[1] - TEMPLATE_512[0]))
    landmarks = (TEMPLATE_512 * width / (2 * eyes) + 20).astype(np.float32)
    frame = np.zeros((900, 900, 3), np.uint8)
    assert measure(frame, align(frame, landmarks, 256)).width == pytest.approx(width, rel=2e-3)


def test_depth_crop_size_and_inputs(portrait, points):
    profile = measure(portrait, align(portrait, points, 256))
    deep = measure(portrait.astype(np.uint16) * 257, align(portrait, points, 256))
    larger = measure(portrait, align(portrait, points, 512))
    for name in ("width", "qvol", "sharpness", "detail", "blockiness", "noise"):
        assert getattr(deep, name) == pytest.approx(getattr(profile, name), rel=1e-3), name
        assert getattr(larger, name) == pytest.approx(getattr(profile, name), rel=1e-6), name


@pytest.mark.parametrize("shift", [(-230, 0), (290, -120), (900, 900)], ids=str)
def test_a_face_at_the_border_can_be_measured(portrait, points, shift):
    landmarks = points + np.float32(shift)
    profile = measure(portrait, align(portrait, landmarks, 256))
    assert all(
        math.isfinite(getattr(profile, n)) for n in ("width", "qvol", "sharpness", "detail", "blockiness", "noise")
    )
