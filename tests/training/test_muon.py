"""Muon on the CPU."""

from __future__ import annotations

import timm.optim
import torch
from timm.optim import muon

from likeness.training.muon import Muon


def stepped(kind: type[timm.optim.Muon]) -> torch.Tensor:
    """A weight of zeros after one step down a gradient."""
    weight = torch.nn.Parameter(torch.zeros(6, 8))
    weight.grad = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    kind([weight], lr=0.1, momentum=0.0).step()
    return weight.detach()


def test_it_is_timm_s_with_more_digits() -> None:
    ours, theirs = stepped(Muon), stepped(timm.optim.Muon)
    torch.testing.assert_close(ours, theirs, rtol=0.05, atol=2e-3)
    assert not torch.equal(ours, theirs)
    assert len(ours.unique()) == ours.numel()  # bf16 has 256 values between two powers of 2; 48 of fp32 differ


def test_timm_s_own_optimiser_stays_as_it_was() -> None:
    kept = muon.zeropower_via_newtonschulz
    stepped(Muon)
    assert muon.zeropower_via_newtonschulz is kept
