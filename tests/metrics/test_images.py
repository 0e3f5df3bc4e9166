"""What the metrics share."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from likeness.errors import InputError
from likeness.metrics.images import check_pair, halve, luma, round8
from likeness.metrics.psnr import Psnr, psnr


def test_round8_keeps_what_an_8_bit_file_keeps() -> None:
    x = torch.rand(1, 3, 16, 16) * 1.4 - 0.2
    before = x.clone()
    expected = np.rint(np.clip(x.numpy(), 0, 1) * 255).astype(np.uint8)
    assert np.array_equal(np.rint(round8(x).numpy() * 255).astype(np.uint8), expected)
    assert torch.equal(round8(round8(x)), round8(x))
    assert torch.equal(x, before)


def test_halve_is_the_mean_of_four() -> None:
    x = torch.rand(2, 3, 8, 6)
    expected = (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4
    torch.testing.assert_close(halve(x), expected)
    with pytest.raises(InputError, match="even"):
        halve(x[..., :-1])


def test_luma_weighs_the_channels() -> None:
    for channel, weight in enumerate((0.299, 0.587, 0.114)):
        x = torch.zeros(1, 3, 2, 2)
        x[:, channel] = 1
        torch.testing.assert_close(luma(x), torch.full((1, 2, 2), weight))


@pytest.mark.parametrize(
    ("output", "truth", "message"),
    [
        pytest.param(torch.rand(3, 8, 8), torch.rand(3, 8, 8), "B, 3, H, W", id="no batch"),
        pytest.param(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 9), "resize", id="other shape"),
        pytest.param(torch.rand(1, 3, 8, 8) * 255, torch.rand(1, 3, 8, 8), "divide by 255", id="0..255"),
        pytest.param(torch.full((1, 3, 8, 8), torch.nan), torch.rand(1, 3, 8, 8), r"expected \[0, 1\]", id="nan"),
        pytest.param(torch.ones(1, 3, 8, 8, dtype=torch.uint8), torch.rand(1, 3, 8, 8), "floating", id="integer"),
    ],
)
def test_check_pair_says_what_is_wrong(output: torch.Tensor, truth: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_pair(output, truth)


def test_running_mean_is_the_mean_over_images_of_uneven_batches_and_survives_pickling() -> None:
    output, truth = torch.rand(5, 3, 16, 16) * 1.1, torch.rand(5, 3, 16, 16)
    metric = Psnr()
    metric.update(output[:1], truth[:1])
    metric = pickle.loads(pickle.dumps(metric))
    metric.update(output[1:], truth[1:])
    torch.testing.assert_close(metric.compute(), psnr(round8(output), round8(truth)).mean())
    metric.reset()
    with pytest.warns(UserWarning, match="before the"):  # torchmetrics' own word for "nothing yet"
        assert torch.isnan(metric.compute())
