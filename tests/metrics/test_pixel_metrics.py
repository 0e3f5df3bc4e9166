"""PSNR, SSIM and GMSD against independent references; sharpness against scipy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.ndimage
import skimage.metrics
import torch
from skimage.data import astronaut
from skimage.transform import resize

from likeness.metrics.gmsd import gmsd
from likeness.metrics.images import round8
from likeness.metrics.psnr import psnr
from likeness.metrics.sharpness import laplacian_variance, sharpness_ratio
from likeness.metrics.ssim import ssim

Image = np.ndarray


@pytest.fixture(scope="module")
def pairs() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Truth and output, (1, 3, S, S) each."""
    rng = np.random.default_rng(0)
    truth = astronaut()[:256, 128:384] / 255.0
    large = resize(astronaut(), (512, 512)).astype(float)
    blurred = scipy.ndimage.gaussian_filter(truth, (2, 2, 0))
    distorted = {
        "blur": (truth, blurred),
        "noise": (truth, truth + rng.normal(0, 0.08, truth.shape)),
        "dark": (truth, truth * 0.8),
        "large blur": (large, scipy.ndimage.gaussian_filter(large, (3, 3, 0))),
    }
    return {k: (_tensor(a), _tensor(b)) for k, (a, b) in distorted.items()}


def _tensor(image: Image) -> torch.Tensor:
    return round8(torch.from_numpy(image.transpose(2, 0, 1)[None].copy()).float())


def _image(x: torch.Tensor) -> Image:
    return x[0].permute(1, 2, 0).double().numpy()


def _psnr(truth: Image, output: Image) -> float:
    return skimage.metrics.peak_signal_noise_ratio(truth, output, data_range=1)


def _ssim(truth: Image, output: Image) -> float:
    _, full = skimage.metrics.structural_similarity(
        truth, output, data_range=1, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        full=True,
    )  # fmt: skip
    return float(full[5:-5, 5:-5].mean())


def _gmsd(truth: Image, output: Image) -> float:
    """Xue et al. 2014, written from the paper's equations."""
    maps = []
    for image in (truth, output):
        grey = image @ np.array([0.299, 0.587, 0.114])
        small = grey.reshape(grey.shape[0] // 2, 2, grey.shape[1] // 2, 2).mean((1, 3))
        dx = scipy.ndimage.prewitt(small, 1, mode="constant") / 3
        dy = scipy.ndimage.prewitt(small, 0, mode="constant") / 3
        maps.append(np.hypot(dx, dy))
    c = 170 / 255**2
    similarity = (2 * maps[0] * maps[1] + c) / (maps[0] ** 2 + maps[1] ** 2 + c)
    return float(similarity.std())


def _sharpness(truth: Image, output: Image) -> float:
    return _variance(output) / _variance(truth)


def _variance(image: Image) -> float:
    grey = 255 * image @ np.array([0.299, 0.587, 0.114])
    return float(scipy.ndimage.laplace(grey)[1:-1, 1:-1].var())


@pytest.mark.parametrize("case", ["blur", "noise", "dark", "large blur"])
@pytest.mark.parametrize(
    ("metric", "expected", "tolerance"),
    [
        pytest.param(psnr, _psnr, 1e-3, id="psnr"),
        pytest.param(ssim, _ssim, 1e-4, id="ssim"),
        pytest.param(gmsd, _gmsd, 1e-4, id="gmsd"),
        pytest.param(sharpness_ratio, _sharpness, 1e-3, id="sharpness"),
    ],
)
def test_metric_equals_its_reference(
    metric: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    expected: Callable[[Image, Image], float],
    tolerance: float,
    case: str,
    pairs: dict[str, tuple[torch.Tensor, torch.Tensor]],
) -> None:
    truth, output = pairs[case]
    before = truth.clone(), output.clone()
    assert metric(output, truth).tolist() == pytest.approx([expected(_image(truth), _image(output))], rel=tolerance)
    assert torch.equal(truth, before[0])
    assert torch.equal(output, before[1])


@pytest.mark.parametrize(
    ("metric", "perfect"),
    [(psnr, torch.inf), (ssim, 1.0), (gmsd, 0.0), (sharpness_ratio, 1.0)],
    ids=["psnr", "ssim", "gmsd", "sharpness"],
)
def test_equal_images_have_the_best_value_and_images_of_a_batch_are_separate(
    metric: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    perfect: float,
    pairs: dict[str, tuple[torch.Tensor, torch.Tensor]],
) -> None:
    truth, blurred = pairs["blur"]
    values = metric(torch.cat((truth, blurred)), torch.cat((truth, truth)))
    assert values[0].item() == pytest.approx(perfect, abs=1e-6)
    assert values[1].item() == pytest.approx(metric(blurred, truth).item(), rel=1e-5)


def test_laplacian_variance_of_a_checkerboard_is_exact() -> None:
    y, x = np.mgrid[:8, :8]
    board = torch.from_numpy(((x + y) % 2).astype(np.float32))[None, None].repeat(1, 3, 1, 1)
    # Every inner pixel's Laplacian is +-4 x 255; six by six of them are half plus, half minus.
    assert laplacian_variance(board).item() == pytest.approx((4 * 255) ** 2)
