"""Haar transforms against an explicit matrix, and what the blocks promise."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.nets.blocks import (
    BicubicTwice,
    FourierUnit,
    HaarDown,
    HaarUp,
    NoiseInjection,
    ResidualBlock,
    haar_split,
)


def haar_merge(x: Tensor) -> Tensor:
    """Inverse Haar transform: (B, 4C, H, W) to (B, C, 2H, 2W)."""
    ll, lh, hl, hh = (x / 2).chunk(4, 1)
    cells = torch.stack([ll + lh + hl + hh, ll - lh + hl - hh, ll + lh - hl - hh, ll - lh - hl + hh], 2)
    return F.pixel_shuffle(cells.flatten(1, 2), 2)


def haar_matrix(size: int) -> Tensor:
    """One level of the 1-D orthonormal Haar transform: (size, size), first all means, then all differences."""
    matrix = torch.zeros(size, size, dtype=torch.float64)
    for i in range(size // 2):
        matrix[i, 2 * i] = matrix[i, 2 * i + 1] = 0.5**0.5
        matrix[size // 2 + i, 2 * i] = 0.5**0.5
        matrix[size // 2 + i, 2 * i + 1] = -(0.5**0.5)
    return matrix


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_bands_are_those_of_the_haar_matrix() -> None:
    x = random(2, 3, 8, 12)
    full = haar_matrix(8) @ x @ haar_matrix(12).T
    top, bottom = full[..., :4, :], full[..., 4:, :]
    # LL, LH (detail along x), HL (detail along y), HH
    expected = torch.cat([top[..., :6], top[..., 6:], bottom[..., :6], bottom[..., 6:]], 1)
    torch.testing.assert_close(haar_split(x), expected)


def test_haar_is_orthonormal_and_loses_nothing() -> None:
    x = random(2, 3, 8, 12)
    bands = haar_split(x)
    torch.testing.assert_close(haar_merge(bands), x)
    torch.testing.assert_close(haar_split(haar_merge(bands)), bands)
    torch.testing.assert_close(bands.square().sum(), x.square().sum())
    other = random(2, 3, 8, 12).flip(0)
    torch.testing.assert_close((bands * haar_split(other)).sum(), (x * other).sum())


def test_a_flat_picture_has_only_the_low_band() -> None:
    bands = haar_split(torch.full((1, 2, 4, 4), 0.3))
    torch.testing.assert_close(bands[:, :2], torch.full((1, 2, 2, 2), 0.6))
    assert bands[:, 2:].abs().max() == 0


def test_folded_down_equals_split_then_convolution() -> None:
    torch.manual_seed(1)
    layer, x = HaarDown(5, 7).double(), random(2, 5, 8, 6)
    torch.testing.assert_close(layer(x), layer.mix(haar_split(x)))


def test_folded_up_equals_convolution_then_merge() -> None:
    torch.manual_seed(1)
    layer, x = HaarUp(5, 7).double(), random(2, 5, 4, 3)
    torch.testing.assert_close(layer(x), haar_merge(layer.mix(x)))
    with torch.no_grad():  # which takes another way to the same
        torch.testing.assert_close(layer(x), haar_merge(layer.mix(x)))


def test_the_basis_is_no_weight() -> None:
    assert set(HaarDown(2, 3).state_dict()) == {"mix.weight", "mix.bias"}


def reach(block: torch.nn.Module, size: int) -> Tensor:
    """Which input pixels the middle output pixel depends on, (size, size) bool."""
    x = random(1, 4, size, size).float().requires_grad_()
    block(x)[0, :, size // 2, size // 2].sum().backward()
    assert x.grad is not None
    return x.grad[0].abs().sum(0) > 0


def test_fourier_unit_reads_the_whole_image_a_residual_block_its_surroundings() -> None:
    torch.manual_seed(0)
    unit = FourierUnit(4, 8)
    torch.nn.init.normal_(unit.leave.weight)
    assert reach(unit, 16).all()
    seen = reach(ResidualBlock(4), 16)
    assert seen[6:11, 6:11].any()
    assert not seen[:6].any()
    assert not seen[:, 11:].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fourier_unit_starts_as_identity(dtype: torch.dtype) -> None:
    x = random(1, 4, 8, 8).float()
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        torch.testing.assert_close(FourierUnit(4, 8)(x), x)


def test_fourier_unit_runs_its_transform_in_fp32() -> None:
    """Under bf16 the result may differ by the rounding of two 1x1 convolutions, not by more."""
    torch.manual_seed(0)
    unit, x = FourierUnit(4, 8), random(1, 4, 16, 16).float()
    torch.nn.init.normal_(unit.leave.weight, std=0.1)
    exact = unit(x)
    with torch.autocast("cpu", torch.bfloat16):
        rough = unit(x)
    assert rough.dtype == torch.float32
    assert (rough - exact).abs().max() < 0.02 * exact.abs().max()


def test_inputs_unchanged() -> None:
    x = random(1, 4, 8, 8).float()
    before = x.clone()
    for layer in (HaarDown(4, 4), HaarUp(4, 4), ResidualBlock(4), FourierUnit(4, 8)):
        layer(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("size", [(8, 8), (5, 9), (2, 3)])
def test_the_convolution_enlarges_as_torch_does(size):
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.interpolate(x, scale_factor=2, mode="bicubic", align_corners=False)
    assert torch.allclose(BicubicTwice()(x), expected, atol=1e-6)


def test_it_stays_in_fp32_under_autocast():
    x = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(BicubicTwice()(x), BicubicTwice()(x.float()))
        assert BicubicTwice()(x.bfloat16()).dtype == torch.float32


def test_noise_starts_without_effect_and_then_grows_with_the_features() -> None:
    layer = NoiseInjection(3, 8, seed=1)
    x = torch.rand(2, 3, 8, 8)
    assert torch.equal(layer(x), x)
    with torch.no_grad():
        layer.amount.weight.copy_(torch.eye(3)[..., None, None])
    torch.testing.assert_close(layer(x), x + x * layer.noise)
    torch.testing.assert_close(layer(x, (2, 3)), x + x * torch.roll(layer.noise, (2, 3), (2, 3)))
    assert torch.equal(layer.noise, NoiseInjection(3, 8, seed=1).noise), "drawn anew"
    assert not layer.state_dict().keys() & {"noise"}, "a megabyte that a seed gives"
