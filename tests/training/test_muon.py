"""Muon in fp32 on the CPU."""

from __future__ import annotations

import timm.optim
import torch
from timm.optim import muon

from likeness.training.muon import Muon


def stepped(kind: type[timm.optim.Muon]) -> torch.Tensor:
    """A weight of zeros after one step."""
    weight = torch.nn.Parameter(torch.zeros(6, 8))
    weight.grad = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    kind([weight], lr=0.1, momentum=0.0).step()
    return weight.detach()


def test_step_equals_timms_up_to_bf16_rounding() -> None:
    ours, theirs = stepped(Muon), stepped(timm.optim.Muon)
    torch.testing.assert_close(ours, theirs, rtol=0.05, atol=2e-3)
    assert not torch.equal(ours, theirs)
    assert len(ours.unique()) == ours.numel()  # in bf16 some of 48 values would be equal


def test_timms_own_function_is_restored_after_a_step() -> None:
    original = muon.zeropower_via_newtonschulz
    stepped(Muon)
    assert muon.zeropower_via_newtonschulz is original
