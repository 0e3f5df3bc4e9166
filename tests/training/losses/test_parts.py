"""Each loss against a slow, explicit reference or a known answer."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from likeness.ops.geometry import template
from likeness.training.losses.frequency import focal_frequency
from likeness.training.losses.lattice import spectral_peaks
from likeness.training.losses.likelihood import laplace_nll
from likeness.training.losses.pixel import chroma_l1, feature_weights, weighted_l1


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


ONES = torch.ones(2)
FLAT = torch.ones(1, 1, 6, 8)
LOSSES = {
    "weighted_l1": lambda a, b, samples: weighted_l1(a, b, FLAT, samples),
    "focal_frequency": focal_frequency,
}


# pixel


def test_weighted_l1_equals_an_explicit_sum() -> None:
    a, b, weights = random(2, 3, 4, 5), random(2, 3, 4, 5, seed=1), random(1, 1, 4, 5, seed=2)
    samples = [1.0, 3.0]
    total = 0.0
    for i in range(2):
        for c in range(3):
            for y in range(4):
                for x in range(5):
                    error = abs(float(a[i, c, y, x]) - float(b[i, c, y, x]))
                    total += samples[i] * error * float(weights[0, 0, y, x]) / 60
    assert float(weighted_l1(a, b, weights, torch.tensor(samples))) == pytest.approx(total / 4, rel=1e-5)


@pytest.mark.parametrize("size", [256, 512])
def test_feature_weights_are_larger_at_the_templates_features(size: int) -> None:
    weights = feature_weights(size, 1.5)[0, 0]
    assert float(weights.mean()) == pytest.approx(1, abs=1e-4)
    corner = float(weights[0, 0])
    for x, y in template(size)[:3]:
        assert float(weights[round(y), round(x)]) == pytest.approx(2.5 * corner, rel=0.02)
    mouth = template(size)[3:].mean(0)
    assert float(weights[round(mouth[1]), round(mouth[0])]) == pytest.approx(2.5 * corner, rel=0.02)
    # Forehead and cheek have the weight of the background.
    assert float(weights[size // 4, size // 2]) == pytest.approx(corner, rel=0.02)


def test_feature_weights_without_extra_are_flat() -> None:
    torch.testing.assert_close(feature_weights(256, 0.0), torch.ones(1, 1, 256, 256))


# chroma


def test_chroma_equals_pillows_conversion() -> None:
    """The weighted absolute difference of the means of Cb and Cr over each cell."""
    levels = (random(2, 2, 3, 8, 8) * 255).round()
    weights = random(1, 1, 2, 2, seed=2)
    total = 0.0
    for i in range(2):
        cells = []
        for picture in levels[:, i]:
            rgb = Image.fromarray(picture.permute(1, 2, 0).byte().numpy())
            chroma = np.asarray(rgb.convert("YCbCr"), np.float64)[..., 1:] / 255
            cells.append(chroma.reshape(2, 4, 2, 4, 2).mean((1, 3)))
        total += float((np.abs(cells[0] - cells[1]) * weights[0, 0].numpy()[..., None]).mean()) / 2
    # Pillow rounds each pixel to a level.
    assert float(chroma_l1(levels[0] / 255, levels[1] / 255, weights)) == pytest.approx(total, abs=2e-3)


def test_chroma_ignores_brightness_and_texture() -> None:
    truth = random(1, 3, 16, 16) * 0.5
    even = torch.ones(1, 1, 4, 4)
    assert float(chroma_l1(truth + 0.2, truth, even)) == pytest.approx(0, abs=1e-6)  # only lighter
    board = ((torch.arange(16)[:, None] + torch.arange(16)) % 2).float() * 2 - 1
    grain = truth + 0.1 * board * torch.tensor([1.0, 0.0, -1.0]).view(3, 1, 1)
    assert float(chroma_l1(grain, truth, even)) == pytest.approx(0, abs=1e-6)  # texture with the same mean
    blue = truth + torch.tensor([0.0, 0.0, 0.2]).view(3, 1, 1)
    assert float(chroma_l1(blue, truth, even)) == pytest.approx(0.2 * (0.5 + 0.081312) / 2, rel=1e-4)


# frequency


def test_focal_frequency_equals_an_explicit_sum() -> None:
    a, b = random(1, 2, 4, 6), random(1, 2, 4, 6, seed=1)
    difference = (a - b)[0].numpy()
    height, width = 4, 6
    power = np.zeros((2, height, width // 2 + 1))
    for c in range(2):
        for v in range(height):
            for u in range(width // 2 + 1):
                value = 0j
                for y in range(height):
                    for x in range(width):
                        phase = -2j * math.pi * (v * y / height + u * x / width)
                        value += difference[c, y, x] * cmath.exp(phase)
                power[c, v, u] = abs(value) ** 2 / (height * width)
    weight = np.sqrt(power)
    expected = (weight / weight.max() * power).mean()
    assert float(focal_frequency(a, b, torch.ones(1))) == pytest.approx(expected, rel=1e-4)


def test_focal_weights_have_no_gradient() -> None:
    """The gradient equals that of weight x power with fixed weights."""
    error = random(1, 1, 4, 4).double().requires_grad_()
    focal_frequency(error, torch.zeros_like(error), torch.ones(1)).backward()
    fixed = error.detach().clone().requires_grad_()
    spectrum = torch.fft.rfft2(fixed.float(), norm="ortho").abs().square()
    weight = spectrum.detach().sqrt()
    (weight / weight.max() * spectrum).mean().backward()
    assert error.grad is not None
    assert fixed.grad is not None
    torch.testing.assert_close(error.grad, fixed.grad, atol=1e-6, rtol=1e-4)


def test_focal_frequency_stays_fp32_under_autocast() -> None:
    a, b = random(2, 3, 16, 16), random(2, 3, 16, 16, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = focal_frequency(a, b, ONES)
    torch.testing.assert_close(under_autocast, focal_frequency(a, b, ONES))


# both


@pytest.mark.parametrize("name", LOSSES)
def test_loss_of_equal_images_is_zero(name: str) -> None:
    a = random(2, 3, 6, 8)
    assert float(LOSSES[name](a, a.clone(), ONES)) == 0


@pytest.mark.parametrize("name", LOSSES)
def test_sample_of_weight_zero_is_left_out(name: str) -> None:
    loss = LOSSES[name]
    a, b = random(2, 3, 6, 8).requires_grad_(), random(2, 3, 6, 8, seed=1)
    only_first = loss(a, b, torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(only_first, loss(a[:1], b[:1], torch.ones(1)))
    only_first.backward()
    assert a.grad is not None
    assert a.grad[1].abs().max() == 0
    assert a.grad[0].abs().max() > 0
    assert loss(a, b, torch.zeros(2)).item() == 0


@pytest.mark.parametrize("name", LOSSES)
def test_loss_of_a_batch_is_the_mean_of_its_samples(name: str) -> None:
    loss = LOSSES[name]
    a, b = random(2, 3, 6, 8), random(2, 3, 6, 8, seed=1)
    each = [loss(a[i : i + 1], b[i : i + 1], torch.ones(1)) for i in range(2)]
    torch.testing.assert_close(loss(a, b, ONES), sum(each) / 2)


# lattice


def with_lattice(image: Tensor, period: int, strength: float) -> Tensor:
    grid = torch.zeros_like(image)
    grid[..., ::period, ::period] = strength
    return image + grid


def soft_noise(count: int, size: int, seed: int = 1) -> Tensor:
    noise = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.avg_pool2d(noise, 5, 1, 2)


def reference_peaks(picture: Tensor) -> float:
    """`spectral_peaks` with NumPy, one ratio at a time."""
    size = picture.shape[-1]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    floor = (window**2).sum() / 12 / 255**2
    ratios = np.zeros((len(picture), 2, 7 if size == 512 else 3))
    for i, image in enumerate(picture.permute(0, 2, 3, 1).double().numpy()):
        grey = image @ [0.299, 0.587, 0.114]
        for axis, lines in enumerate((grey, grey.T)):
            power = (np.abs(np.fft.rfft(lines * window)) ** 2).mean(0) + floor
            for j, k in enumerate(range(32, size // 2 + 1 - 8, 32)):
                near = [power[k + s * d] for d in range(3, 9) for s in (-1, 1)]
                ratios[i, axis, j] = power[k] / np.mean(near)
    return float(np.maximum(0, np.log(ratios.mean(0))).mean())


def test_spectral_peaks_equal_the_reference(photo: np.ndarray) -> None:
    picture = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].float() / 255
    both = torch.cat([with_lattice(picture, 8, 0.05), picture.flip(3)])
    assert float(spectral_peaks(both)) == pytest.approx(reference_peaks(both), rel=1e-3)
    assert float(spectral_peaks(both[:1])) > 5 * float(spectral_peaks(picture))


def test_sharp_image_in_the_batch_does_not_hide_a_soft_images_lattice() -> None:
    """In the mean of both spectra the sharp image would dominate."""
    soft = with_lattice(soft_noise(1, 256) * 0.1, 8, 0.005)
    sharp = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(2))
    alone = float(spectral_peaks(soft))
    assert float(spectral_peaks(torch.cat([soft, sharp]))) > 0.7 * (alone - math.log(2))
    assert float(spectral_peaks(sharp)) < 0.05 < alone - math.log(2)


def test_step_against_the_gradient_lowers_the_peaks() -> None:
    image = with_lattice(soft_noise(2, 256), 8, 0.05).requires_grad_()
    before = spectral_peaks(image)
    (gradient,) = torch.autograd.grad(before, image)
    assert float(spectral_peaks(image.detach() - 0.01 * gradient / gradient.abs().max())) < float(before.detach())


def test_ripples_below_8_bit_rounding_are_no_lattice() -> None:
    """Ripples of a hundredth of a level vanish in a file."""
    flat = torch.full((1, 3, 256, 256), 0.4)
    ripples = with_lattice(flat, 8, 0.01 / 255)
    assert float(spectral_peaks(ripples)) < 0.01
    assert float(spectral_peaks(with_lattice(flat, 8, 20 / 255))) > 1


# likelihood


def test_nll_equals_torchs_laplace_distribution() -> None:
    """With the same error in every pixel of a cell."""
    error = torch.tensor([0.01, 0.2]).view(2, 1, 1, 1)
    truth = random(2, 3, 8, 8)
    log_scale = torch.tensor([-3.0, -1.0]).view(2, 1, 1, 1).expand(2, 1, 2, 2)
    nll = laplace_nll(log_scale, truth + error, truth)
    density = torch.distributions.Laplace(0.0, log_scale.exp())
    expected = -density.log_prob(error.expand(2, 1, 2, 2)).mean()
    assert float(nll) == pytest.approx(float(expected), abs=1e-3)


def test_nll_is_smallest_at_the_mean_error() -> None:
    truth = torch.zeros(1, 3, 8, 8)
    image = random(1, 3, 8, 8) * 0.2
    mean = float(image.mean())
    scales = torch.linspace(0.3, 3, 55) * mean
    costs = torch.stack([laplace_nll(torch.full((1, 1, 1, 1), math.log(s)), image, truth) for s in scales.tolist()])
    assert float(scales[costs.argmin()]) == pytest.approx(mean, rel=0.04)


def test_nll_has_no_gradient_for_the_image() -> None:
    image, log_scale = random(1, 3, 8, 8).requires_grad_(), torch.zeros(1, 1, 2, 2, requires_grad=True)
    laplace_nll(log_scale, image, random(1, 3, 8, 8, seed=1)).backward()
    assert image.grad is None
    assert log_scale.grad is not None
    assert (log_scale.grad != 0).all()


def test_nll_treats_each_cell_separately() -> None:
    image = torch.zeros(1, 3, 4, 8)
    image[..., 4:] = 0.5  # an error in the right cell only
    log_scale = torch.full((1, 1, 1, 2), math.log(0.1), requires_grad=True)
    laplace_nll(log_scale, image, torch.zeros_like(image)).backward()
    assert log_scale.grad is not None
    left, right = log_scale.grad.flatten().tolist()
    assert left > 0 > right  # a smaller scale on the left, a larger one on the right


def test_losses_do_not_change_their_inputs() -> None:
    a, b, samples = random(2, 3, 16, 16), random(2, 3, 16, 16, seed=1), torch.tensor([1.0, 0.5])
    log_scale, pair = random(2, 1, 4, 4), random(2, 3, 256, 256)
    inputs = (a, b, samples, log_scale, pair)
    before = [t.clone() for t in inputs]
    weighted_l1(a, b, torch.ones(1, 1, 16, 16), samples)
    focal_frequency(a, b, samples)
    chroma_l1(a, b, torch.ones(1, 1, 4, 4))
    spectral_peaks(pair)
    laplace_nll(log_scale, a, b)
    assert all(torch.equal(x, y) for x, y in zip(before, inputs, strict=True))
