"""The lattice metric: about 1 on photographs and noise, large on halftone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.data import astronaut
from torch import Tensor

from likeness.errors import InputError
from likeness.metrics.lattice import axis_power, lattice


def _photographs(size: int) -> Tensor:
    """Several windows of one photograph, (B, 3, size, size)."""
    image = torch.from_numpy(astronaut().copy()).permute(2, 0, 1)[None] / 255.0
    if size == 512:
        return torch.cat([image, image.flip(3), image.flip(2)])
    corners = [(0, 0), (0, 256), (256, 0), (256, 256), (40, 100), (100, 40)]
    return torch.cat([image[..., y : y + 256, x : x + 256] for y, x in corners])


def _waves(size: int, period: float, axis: int) -> Tensor:
    wave = torch.cos(2 * torch.pi * torch.arange(size) / period)
    return wave.view(1, 1, 1, -1) if axis == 0 else wave.view(1, 1, -1, 1)


def _figure(images: Tensor) -> float:
    return float(lattice(axis_power(images).mean(0)))


@pytest.mark.parametrize("size", [256, 512])
def test_lattice_of_photographs_and_noise_is_about_one(size: int) -> None:
    noise = torch.rand(24, 3, size, size, generator=torch.Generator().manual_seed(0))
    assert 0.5 < _figure(_photographs(size)) < 1.5
    assert _figure(noise) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("axis", [0, 1], ids=["along x", "along y"])
@pytest.mark.parametrize(
    ("size", "period"),
    [(256, 8), (256, 4), (256, 8 / 3), (512, 16), (512, 8), (512, 16 / 7)],
    ids=lambda v: f"{v:g}",
)
def test_faint_pattern_at_a_lattice_frequency_is_detected(size: int, period: float, axis: int) -> None:
    images = _photographs(size)
    before = images.clone()
    marked = images + 12 / 255 * _waves(size, period, axis)
    assert _figure(marked) > 2 * _figure(images)
    assert torch.equal(images, before)


@pytest.mark.parametrize("period", [256 / 43, 2, 1000], ids=["off the lattice", "Nyquist", "brightness"])
def test_pattern_at_another_frequency_is_not_detected(period: float) -> None:
    images = _photographs(256)
    marked = images + 3 / 255 * _waves(256, period, 0)
    assert _figure(marked) == pytest.approx(_figure(images), rel=0.1)


def test_axis_power_equals_numpys_windowed_spectrum() -> None:
    image = np.random.default_rng(0).random((256, 256))
    window = np.hanning(257)[:-1]  # periodic
    expected = [(np.abs(np.fft.rfft(a * window, axis=1)) ** 2).mean(0) for a in (image, image.T)]
    power = axis_power(torch.from_numpy(image)[None, None].repeat(1, 3, 1, 1))
    np.testing.assert_allclose(power[0].numpy(), expected, rtol=1e-6)


def test_lattice_is_the_largest_ratio_to_the_neighbouring_bins() -> None:
    power = torch.ones(2, 129)
    power[1, 96] = 7
    power[1, [91, 102]] = 4  # two of twelve neighbours
    power[0, 128] = 100  # Nyquist: no neighbours above
    power[0, 0] = 100  # the mean
    power[0, 48] = 100  # between two lattice frequencies
    assert float(lattice(power)) == pytest.approx(7 / 1.5)
    assert lattice(torch.stack([power, torch.ones(2, 129)])).tolist() == pytest.approx([7 / 1.5, 1])


def test_size_that_is_no_multiple_of_256_is_refused() -> None:
    with pytest.raises(InputError, match="multiple of 256"):
        lattice(torch.ones(2, 65))
    with pytest.raises(InputError, match="square"):
        axis_power(torch.rand(1, 3, 256, 128))
