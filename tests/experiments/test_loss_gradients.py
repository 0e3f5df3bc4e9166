"""Gradients of the parts of a loss, against known ones."""

from __future__ import annotations

import math

import pytest
import torch

from experiments.expert_f.loss_gradients import gradient_norms, table
from likeness.training.losses.restoration import LossWeights, RestorationLoss


def batch(count: int = 2):
    generator = torch.Generator().manual_seed(0)
    poor = torch.rand(count, 3, 256, 256, generator=generator)
    truth = torch.nn.functional.interpolate(poor, scale_factor=2, mode="bicubic", align_corners=False) + 0.1
    return poor, truth, torch.zeros(count, dtype=torch.bool)


def test_gradient_of_l1_is_one_over_the_number_of_pixels():
    """Everywhere a tenth too dark, compared at 256 by 2 x 2 means: each of N pixels has the gradient 1 / N."""
    weights = LossWeights(l1=1.0, features=0.0, chroma=0, frequency=0, identity=0, lpips=0, lattice=0, scale=0)
    norms = gradient_norms(RestorationLoss(weights), [batch(), batch()], 0)
    count = 2 * 3 * 512 * 512
    assert set(norms) == {"l1"}
    assert norms["l1"] == pytest.approx((0.1, math.sqrt(count) / count), rel=1e-3)


def test_weight_scales_value_and_gradient():
    weights = {"features": 0.0, "identity": 0, "lpips": 0, "lattice": 0, "scale": 0}
    once = gradient_norms(RestorationLoss(LossWeights(frequency=1.0, **weights)), [batch()], 0)
    thrice = gradient_norms(RestorationLoss(LossWeights(frequency=3.0, **weights)), [batch()], 0)
    assert thrice["l1"] == once["l1"]
    assert thrice["frequency"] == pytest.approx([3 * v for v in once["frequency"]], rel=2e-3)


def test_table_states_multiples_of_l1():
    lines = table({"l1": (0.05, 2e-4), "identity": (0.03, 5e-3)})
    assert lines[2:] == ["| l1 | 0.0500 | 2.00e-04 | 1.00 |", "| identity | 0.0300 | 5.00e-03 | 25.00 |"]
