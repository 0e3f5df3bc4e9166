"""The network that marks obstructions: sizes, probabilities, budget."""

from __future__ import annotations

import pytest
import torch

from likeness.errors import ConfigError
from likeness.nets.obstructions import CLASSES, INPUT_SIZE, ObstructionNet, ObstructionNetConfig


@pytest.mark.parametrize("size", [(INPUT_SIZE, INPUT_SIZE), (32, 80)], ids=["a crop", "another size"])
def test_probabilities_of_every_pixel_sum_to_one(size: tuple[int, int]) -> None:
    net = ObstructionNet().eval()
    with torch.inference_mode():
        probabilities = net.probabilities(torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)))
    assert probabilities.shape == (2, len(CLASSES), *size)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2, *size))


def test_network_stays_within_its_budget() -> None:
    assert sum(p.numel() for p in ObstructionNet().parameters()) <= 400_000


def test_a_thin_line_reaches_the_scores_where_it_lies() -> None:
    torch.manual_seed(0)
    net = ObstructionNet().eval()
    plain = torch.full((1, 3, 128, 128), 0.5)
    line = plain.clone()
    line[:, :, :, 65] = 1.0
    with torch.inference_mode():
        change = (net(line) - net(plain)).abs().sum((0, 1, 2))
    assert 61 <= int(change.argmax()) <= 69


@pytest.mark.parametrize("widths", [(24, 40, 56), (24, 40, 56, 81), (4, 8, 8, 8)], ids=["few", "no multiple", "small"])
def test_other_widths_are_refused(widths: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="widths"):
        ObstructionNetConfig(widths)
