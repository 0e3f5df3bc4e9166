"""Specks: as many as were drawn, and none of what is no dot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, gaussian_laplace, maximum_filter
from skimage.data import astronaut
from torch import Tensor

from likeness.metrics.images import luma, round8
from likeness.metrics.skin import CORNERS, SIDE
from likeness.metrics.specks import RULE, find_specks, specks

AREA = 3 * SIDE**2


def _skin() -> np.ndarray:
    """A smooth cheek of 512 px, in grey levels."""
    y, x = np.mgrid[:512, :512]
    return 140 + 0.12 * x - 0.05 * y + 8 * np.sin(x / 90) * np.cos(y / 70)


def _tensor(grey: np.ndarray) -> Tensor:
    """Grey levels as an 8-bit batch of one."""
    return round8(torch.from_numpy(grey / 255).float().expand(1, 3, -1, -1))


def _dots(places: list[tuple[float, float]], depth: float, sigma: float = 1.5) -> np.ndarray:
    y, x = np.mgrid[:512, :512]
    return sum(
        (-depth * np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * sigma**2)) for a, b in places), np.zeros((512, 512))
    )


def _places(step: int = 20) -> list[tuple[float, float]]:
    """Well separated dots in all three windows."""
    grid = range(step // 2, SIDE, step)
    return [(x + a, y + b) for x, y in CORNERS for a in grid for b in grid]


def _count(grey: np.ndarray) -> float:
    return float(specks(_tensor(grey))) * AREA / 10_000


@pytest.mark.parametrize("depth", [6.0, 25.0, -6.0], ids=["faint dark", "dark", "faint light"])
@pytest.mark.parametrize("sigma", [1.0, 1.5, 2.2])
def test_all_drawn_dots_are_found_at_their_positions(depth: float, sigma: float) -> None:
    places = _places()
    grey = _skin() + _dots(places, depth, sigma)
    assert _count(grey) == pytest.approx(len(places))
    specks_found, _ = find_specks(_tensor(grey))
    drawn = torch.zeros_like(specks_found)
    for k, (x, y) in enumerate(CORNERS):
        for a, b in places[16 * k : 16 * (k + 1)]:
            drawn[0, k, int(b - y), int(a - x)] = True
    assert torch.equal(specks_found, drawn)


def test_dots_outside_of_the_windows_do_not_count() -> None:
    eyes_and_mouth = [(193.0, 240.0), (319.0, 240.0), (257.0, 371.0), (30.0, 30.0)]
    assert _count(_skin() + _dots(eyes_and_mouth, 40)) == 0


def _lines() -> np.ndarray:
    y, x = np.mgrid[:512, :512]
    return -30 * np.exp(-(((x + 0.6 * y) % 40 - 20) ** 2) / 4)


@pytest.mark.parametrize(
    "structure",
    [
        pytest.param(np.zeros((512, 512)), id="rounding only"),
        pytest.param(_dots(_places(), 2.0), id="dots below the contrast"),
        pytest.param(_lines(), id="lines"),
        pytest.param(60.0 * (np.mgrid[:512, :512].sum(0) % 70 > 35), id="edges"),
        pytest.param(_dots(_places(), 30, 9.0), id="wide spots"),
        pytest.param(12 * np.outer(np.sin(np.arange(512)), np.sin(np.arange(512))), id="dense texture"),
    ],
)
def test_structure_other_than_dots_does_not_count(structure: np.ndarray) -> None:
    assert _count(_skin() + structure) == 0


@pytest.mark.parametrize("sigma", [2.0, 5.0, 20.0])
@pytest.mark.parametrize("grain", [0.0, 1.5], ids=["white", "coarse"])
def test_noise_of_any_strength_has_almost_no_specks(sigma: float, grain: float) -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(4, 512, 512))
    noise = np.stack([gaussian_filter(n, grain) for n in noise]) if grain else noise
    noise *= sigma / noise.std()
    assert np.mean([_count(_skin() + n) for n in noise]) < 1.5  # photographs have 1.9 in the three windows


def test_blur_removes_dots_and_adds_none() -> None:
    grey = _skin() + _dots(_places(), 30) + np.random.default_rng(0).normal(0, 1, (512, 512))
    counts = [_count(gaussian_filter(grey, s) if s else grey) for s in (0, 1, 2, 4)]
    assert counts[0] == pytest.approx(48, abs=3)
    assert counts[0] >= counts[1] - 3
    assert counts[2] > counts[3] == 0


def _photograph() -> Tensor:
    return torch.from_numpy(astronaut().copy()).permute(2, 0, 1)[None] / 255.0


def _grainy() -> Tensor:
    """Noise, and dots of which it hides some."""
    rng = np.random.default_rng(3)
    depths = rng.uniform(2, 40, len(_places()))
    dots = sum(_dots([p], d) for p, d in zip(_places(), depths, strict=True))
    return _tensor(_skin() + dots + rng.normal(0, 8, (512, 512)))


@pytest.mark.parametrize("make", [_photograph, _grainy])
def test_specks_equal_an_independent_implementation(make: Callable[[], Tensor]) -> None:
    image = make()
    specks_found, _ = find_specks(image)
    grey = 255 * luma(image)[0].double().numpy()
    # SciPy's own Laplacian of a Gaussian.
    response = np.abs(RULE.sigma**2 * gaussian_laplace(grey, RULE.sigma))
    yy, xx = np.mgrid[-12:13, -12:13]
    ring = (np.hypot(yy, xx) >= RULE.ring[0]) & (np.hypot(yy, xx) <= RULE.ring[1])
    isolated = response > RULE.isolation * maximum_filter(response, footprint=ring)
    peak = response == maximum_filter(response, 5)
    expected = np.zeros((3, SIDE, SIDE), bool)
    for k, (x, y) in enumerate(CORNERS):
        window = np.s_[y : y + SIDE, x : x + SIDE]
        threshold = max(RULE.contrast, RULE.deviations * 1.4826 * float(np.median(response[window])))
        expected[k] = (isolated & peak & (response > threshold))[window]
    assert expected.any()
    np.testing.assert_array_equal(specks_found[0].numpy(), expected)


def test_invalid_pixels_count_neither_as_dots_nor_as_area() -> None:
    image = _tensor(_skin() + _dots(_places(), 12))
    valid = torch.ones(1, 1, 512, 512, dtype=torch.bool)
    valid[..., 200:] = False  # beyond: 16 columns of the left cheek, and all of the other windows
    in_left = [p for p in _places()[:16] if p[0] < 200]
    assert float(specks(image, valid)) == pytest.approx(10_000 * len(in_left) / (64 * SIDE))
    assert torch.isnan(specks(image, torch.zeros_like(valid))).all()


def test_images_of_a_batch_are_separate_and_not_changed() -> None:
    images = torch.cat([_tensor(_skin()), _tensor(_skin() + _dots(_places()[:5], 12))])
    before = images.clone()
    assert (specks(images) * AREA / 10_000).tolist() == pytest.approx([0, 5])
    assert torch.equal(images, before)
    assert torch.equal(specks(images.double()), specks(images))


def test_stricter_rule_finds_no_specks() -> None:
    image = _tensor(_skin() + _dots(_places(), 8))
    assert float(specks(image, rule=replace(RULE, contrast=8.0))) == 0
