"""Streaks: parallel lines of any direction count; edges, single lines, noise and blur do not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from likeness.metrics.images import round8
from likeness.metrics.skin import CORNERS, SIDE
from likeness.metrics.streaks import RULE, STEP, find_streaks, local_energy, streaks


def _tensor(grey: np.ndarray) -> Tensor:
    """Grey levels around 140 as an 8-bit batch of one."""
    return round8(torch.from_numpy((140 + grey) / 255).float().expand(1, 3, -1, -1))


def _wave(length: float, degrees: float, amplitude: float) -> np.ndarray:
    y, x = np.mgrid[:512, :512]
    angle = math.radians(degrees)
    return amplitude * np.sin(2 * math.pi * (x * math.cos(angle) + y * math.sin(angle)) / length)


def _fraction(grey: np.ndarray) -> float:
    return float(streaks(_tensor(grey)))


def _noise(grain: float, sigma: float, count: int = 4) -> list[np.ndarray]:
    fields = [gaussian_filter(n, grain) for n in np.random.default_rng(0).normal(size=(count, 512, 512))]
    return [sigma * m / m.std() for m in fields]


@pytest.mark.parametrize("degrees", [0, 7.5, 45, 90, 130])
@pytest.mark.parametrize("length", [5.5, 7, 8, 11])
def test_hatching_of_any_angle_is_found(length: float, degrees: float) -> None:
    assert _fraction(_wave(length, degrees, 3)) > 0.95
    noisy = _wave(length, degrees, 3) + _noise(0, 2, 1)[0]
    assert _fraction(noisy) > 0.9


def test_hatching_is_found_at_its_position() -> None:
    y, x = CORNERS[1][1], CORNERS[1][0]
    grey = np.zeros((512, 512))
    grey[y : y + SIDE, x + SIDE // 2 : x + SIDE] = _wave(8, 30, 4)[y : y + SIDE, x + SIDE // 2 : x + SIDE]
    hatched, counted = find_streaks(_tensor(grey))
    assert hatched.shape == counted.shape == (1, 3, SIDE // STEP, SIDE // STEP)
    assert not hatched[0, [0, 2]].any()
    half = SIDE // STEP // 2
    assert hatched[0, 1, :, half + 2 :].float().mean() > 0.9
    assert hatched[0, 1, :, : half - 2].float().mean() < 0.1


@pytest.mark.parametrize(
    "structure",
    [
        pytest.param(np.zeros((512, 512)), id="flat"),
        pytest.param(_wave(8, 30, 0.6), id="too faint"),
        pytest.param(_wave(3, 30, 5), id="finer than hatching"),
        pytest.param(_wave(30, 30, 20), id="coarser than hatching"),
        pytest.param(60.0 * (np.mgrid[:512, :512].sum(0) % 120 > 60), id="edges"),
        pytest.param(-30.0 * (np.abs(np.mgrid[:512, :512].sum(0) % 90 - 45) < 2), id="single lines"),
        pytest.param(np.mgrid[:512, :512].sum(0) / 12.0, id="a slope"),
        pytest.param(_wave(8, 0, 3) + _wave(8, 45, 3) + _wave(8, 90, 3) + _wave(8, 135, 3), id="all directions"),
    ],
)
def test_structure_other_than_hatching_does_not_count(structure: np.ndarray) -> None:
    assert _fraction(structure) < 0.01


@pytest.mark.parametrize("sigma", [3.0, 10.0, 25.0])
@pytest.mark.parametrize("grain", [0.0, 0.8, 2.0])
def test_isotropic_noise_has_fewer_streaks_than_photographs(grain: float, sigma: float) -> None:
    assert np.mean([_fraction(n) for n in _noise(grain, sigma)]) < 0.045


def test_blur_adds_no_streaks() -> None:
    texture = _noise(0.8, 8)
    fractions = [np.mean([_fraction(gaussian_filter(t, s)) for t in texture]) for s in (1, 2, 4)]
    assert max(fractions) < 0.045


def test_energy_of_a_wave_is_its_squared_amplitude_at_its_filter() -> None:
    side = SIDE + 80
    y, x = np.mgrid[:side, :side]
    angle = 3 * math.pi / RULE.orientations
    grey = 90 + 5 * np.cos(2 * math.pi * (x * math.cos(angle) + y * math.sin(angle)) / 8)
    energy = local_energy(torch.from_numpy(grey).float()[None])
    assert energy.shape == (1, 7, RULE.orientations, SIDE // STEP, SIDE // STEP)
    middle = energy[0, :, :, 5:15, 5:15].mean((2, 3))
    assert divmod(int(middle.argmax()), RULE.orientations) == (
        3,
        3,
    )  # wavelength 6 * 4/3, after the two additional ones
    assert float(middle[3, 3]) == pytest.approx(25, rel=0.02)


def test_energy_equals_that_of_filters_at_full_resolution() -> None:
    grey = np.random.default_rng(1).normal(120, 20, (SIDE + 80, SIDE + 80))
    energy = local_energy(torch.from_numpy(grey).float()[None])[0, 4, 2].numpy()  # 32/3 px, 30 degrees
    fy, fx = np.fft.fftfreq(len(grey))[:, None], np.fft.fftfreq(len(grey))
    u, v = (3 / 32 * f(math.radians(30)) for f in (math.cos, math.sin))
    gain = 2 * np.exp(-0.5 * ((fx - u) ** 2 + (fy - v) ** 2) * (2 * math.pi * 0.8 * 32 / 3) ** 2)
    power = np.abs(np.fft.ifft2(np.fft.fft2(grey - grey.mean()) * gain)) ** 2
    expected = gaussian_filter(power, RULE.spread)[40 : 40 + SIDE : STEP, 40 : 40 + SIDE : STEP]
    np.testing.assert_allclose(energy, expected, rtol=0.05)


def test_invalid_pixels_do_not_count() -> None:
    grey = np.zeros((512, 512))
    grey[:, :256] = _wave(8, 0, 4)[:, :256]
    valid = torch.zeros(1, 1, 512, 512, dtype=torch.bool)
    valid[..., 280:] = True  # the right cheek and a part of the forehead
    assert float(streaks(_tensor(grey))) > 0.4
    assert float(streaks(_tensor(grey), valid)) == 0
    assert float(streaks(_tensor(grey), ~valid)) > 0.7
    assert torch.isnan(streaks(_tensor(grey), torch.zeros_like(valid))).all()


def test_images_of_a_batch_are_separate_and_not_changed() -> None:
    images = torch.cat([_tensor(np.zeros((512, 512))), _tensor(_wave(8, 20, 3))])
    before = images.clone()
    assert streaks(images).tolist() == [float(streaks(i[None])) for i in images]
    assert torch.equal(images, before)
