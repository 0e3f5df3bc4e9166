"""Degraded pictures: each operation against an independent implementation, and reproducibility."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from likeness.data.degradations.codecs import STILL_CODECS
from likeness.data.degradations.recipes import RECIPES, DegradationParams, sample_params
from likeness.data.degradations.stills import apply_degradation, degrade, gaussian_kernel
from likeness.ops.color import grey
from likeness.types import Pixels


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


KERNELS = {
    "round": (2.0, 1.0, 0.0),
    "tiny": (0.1, 1.0, 0.0),
    "horizontal": (2.5, 0.4, 0.0),
    "vertical": (2.5, 0.4, 90.0),
    "slanted": (2.2, 0.5, 30.0),
}


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_sums_to_one_and_has_the_given_moments(name: str) -> None:
    sigma, ratio, angle = KERNELS[name]
    kernel = gaussian_kernel(sigma, ratio, angle).astype(np.float64)
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    axis = np.arange(21) - 10.0
    assert kernel.sum(0) @ axis == pytest.approx(0, abs=1e-6)
    if sigma < 0.5:
        assert kernel[10, 10] == pytest.approx(1)
        return
    xx, yy = kernel.sum(0) @ axis**2, kernel.sum(1) @ axis**2
    xy = axis @ kernel @ axis
    t = np.radians(angle)
    long, short = sigma**2, (ratio * sigma) ** 2
    expected = np.array(
        [
            long * np.cos(t) ** 2 + short * np.sin(t) ** 2,
            long * np.sin(t) ** 2 + short * np.cos(t) ** 2,
            (long - short) * np.sin(t) * np.cos(t),
        ]
    )
    assert_allclose([xx, yy, xy], expected, atol=0.02 * sigma**2)


def test_round_kernel_equals_opencv() -> None:
    column = cv2.getGaussianKernel(21, 1.7)
    assert_allclose(gaussian_kernel(1.7, 1, 0), column @ column.T, atol=1e-7)


def params(**changes: object) -> DegradationParams:
    """Parameters that change next to nothing, except for `changes`."""
    plain = {"recipe": "gfpgan", "sigma": 0.05, "shrink": 1.0, "noise": 0.0, "jpeg": 100}
    return DegradationParams(**{**plain, **changes})  # type: ignore[arg-type]


def test_blur_equals_opencv(face: Pixels) -> None:
    blurred = apply_degradation(face, params(sigma=3.0), rng())
    expected = cv2.GaussianBlur(face, (21, 21), 3.0, borderType=cv2.BORDER_REFLECT_101)
    # JPEG at quality 100 still rounds, by about one level.
    assert np.abs(blurred.astype(int) - expected).mean() < 1


@pytest.mark.parametrize("sigma", [3.0, 12.0])
def test_noise_has_the_given_sigma(sigma: float) -> None:
    flat = np.full((256, 256, 3), 128, np.uint8)
    noisy = apply_degradation(flat, params(noise=sigma), rng())
    # JPEG at quality 100 halves the resolution of the chroma planes, but not of luma.
    luma = cv2.cvtColor(noisy, cv2.COLOR_RGB2YCrCb)[..., 0].astype(float)
    assert luma.std() == pytest.approx(sigma * np.sqrt(0.299**2 + 0.587**2 + 0.114**2), rel=0.05)
    assert luma.mean() == pytest.approx(128, abs=0.3)


@pytest.mark.parametrize("area", [True, False])
def test_shrinking_equals_opencv(face: Pixels, area: bool) -> None:
    degraded = apply_degradation(face, params(shrink=4.0, area=area), rng())
    mode = cv2.INTER_AREA if area else cv2.INTER_LINEAR
    small = cv2.resize(face, (64, 64), interpolation=mode)
    expected = cv2.resize(small, (256, 256), interpolation=cv2.INTER_CUBIC)
    # In luma: JPEG halves the resolution of colour at any quality.
    assert np.abs(grey(degraded) - grey(expected)).mean() < 0.6
    assert np.abs(grey(degraded) - grey(face)).mean() > 2


def test_jpeg_error_falls_with_quality(face: Pixels) -> None:
    errors = []
    for quality in (30, 50, 70, 90, 100):
        degraded = apply_degradation(face, params(jpeg=quality), rng())
        errors.append(np.square(degraded.astype(float) - face).mean())
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 4 * errors[-1]


def test_jpeg_keeps_the_order_of_channels() -> None:
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 200
    assert_allclose(apply_degradation(red, params(), rng()).mean((0, 1)), [200, 0, 0], atol=2)


def test_clean_returns_a_copy_of_the_picture(face: Pixels) -> None:
    degraded, sampled = degrade(face, "clean", rng())
    assert_array_equal(degraded, face)
    assert sampled["recipe"] == "clean"
    assert degraded is not face


@pytest.mark.parametrize("name", ["clean", *RECIPES])
def test_seed_or_parameters_reproduce_the_picture(face: Pixels, name: str) -> None:
    before = face.copy()
    first, sampled = degrade(face, name, rng(5))
    again, _ = degrade(face, name, rng(5))
    other, _ = degrade(face, name, rng(6))
    assert_array_equal(first, again)
    assert first.shape == face.shape
    assert first.dtype == np.uint8
    if name != "clean":
        assert (first != other).any()
    assert_array_equal(face, before)
    # Applying uses the generator for the noise alone, in the state that sampling left.
    after = rng(5)
    assert sample_params(name, after).to_dict() == sampled
    assert_array_equal(apply_degradation(face, DegradationParams(**sampled), after), first)


def test_stronger_recipes_have_larger_errors(face: Pixels) -> None:
    def error(name: str) -> float:
        generator = rng(1)
        return float(
            np.mean([np.square(degrade(face, name, generator)[0].astype(float) - face).mean() for _ in range(12)])
        )

    assert error("heavy") > error("gfpgan") > error("mild") > error("slight")


def test_float_input_equals_uint8_input(face: Pixels) -> None:
    from_float = apply_degradation(face.astype(np.float32), params(), rng())  # type: ignore[arg-type]
    assert_array_equal(from_float, apply_degradation(face, params(), rng()))


@pytest.mark.parametrize("codec", STILL_CODECS)
def test_codec_is_applied_after_the_recipe(face: Pixels, codec: str) -> None:
    sampled = sample_params("mild", rng(2), codec)
    assert sampled.codec == codec
    plain = apply_degradation(face, DegradationParams(**{**sampled.to_dict(), "codec": "", "codec_level": 0}), rng(3))
    expected = STILL_CODECS[codec].roundtrip(plain, sampled.codec_level)
    assert_array_equal(apply_degradation(face, sampled, rng(3)), expected)
