"""SRNet: what it is before training, what reaches it, and what it refuses."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from likeness.errors import ConfigError
from likeness.nets.srnet import SRNet, SRNetConfig


def test_it_starts_as_bicubic_enlargement_of_any_size_by_two() -> None:
    x = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    found = SRNet(SRNetConfig(8, 2))(x)
    torch.testing.assert_close(found.image, F.interpolate(x, scale_factor=2.0, mode="bicubic"))
    assert found.log_scale is None


def test_every_weight_learns_and_every_pixel_is_read() -> None:
    torch.manual_seed(0)
    net = SRNet(SRNetConfig(8, 2))
    torch.nn.init.normal_(net.leave.weight, std=0.1)
    for block in net.body:
        torch.nn.init.normal_(block.second.weight, std=0.1)  # type: ignore[union-attr, arg-type]
    x = torch.rand(1, 3, 32, 32, requires_grad=True)
    net(x).image.square().sum().backward()
    for name, weight in net.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name
    assert x.grad is not None
    assert (x.grad != 0).all()


def test_an_empty_body_is_refused() -> None:
    with pytest.raises(ConfigError, match="blocks=0"):
        SRNetConfig(blocks=0)


def test_config_holds_the_size_as_plain_data() -> None:
    assert SRNetConfig(**SRNetConfig(16, 3).to_dict()) == SRNetConfig(16, 3)
