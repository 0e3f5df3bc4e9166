"""What the metrics share."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from likeness.errors import InputError
from likeness.metrics.images import check_pair, halve, luma, round8


def test_round8_equals_numpys_rounding_to_uint8() -> None:
    x = torch.rand(1, 3, 16, 16) * 1.4 - 0.2
    before = x.clone()
    expected = np.rint(np.clip(x.numpy(), 0, 1) * 255).astype(np.uint8)
    assert np.array_equal(np.rint(round8(x).numpy() * 255).astype(np.uint8), expected)
    assert torch.equal(round8(round8(x)), round8(x))
    assert torch.equal(x, before)


def test_halve_is_the_mean_of_four_pixels() -> None:
    x = torch.rand(2, 3, 8, 6)
    expected = (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4
    torch.testing.assert_close(halve(x), expected)
    with pytest.raises(InputError, match="even"):
        halve(x[..., :-1])


def test_luma_has_the_weights_of_bt601() -> None:
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
def test_bad_pair_is_an_error_that_names_the_fault(output: torch.Tensor, truth: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_pair(output, truth)
