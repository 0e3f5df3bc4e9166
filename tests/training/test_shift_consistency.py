"""The loss on patterns that stay in place when the face moves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.metrics.lattice import axis_power, lattice
from likeness.nets.expert_f import ExpertF
from likeness.training.callbacks import read_curves
from likeness.training.expert_f import ExpertFModule
from likeness.training.losses.restoration import LossWeights, RestorationLoss
from likeness.training.run import train
from tests.tiny import FIRST

from .conftest import compose_train

FACES = torch.rand(4, 3, 256, 256, generator=torch.Generator().manual_seed(0))


class Module(ExpertFModule):
    """A module without a network."""

    def __init__(self, weight: float) -> None:
        torch.nn.Module.__init__(self)
        self.loss = RestorationLoss(LossWeights(identity=0, lpips=0, shift_consistency=weight))


def enlarge(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2)


def hatch(x: Tensor) -> Tensor:
    """Enlarges and adds stripes of a period of 4 pixels, which stay in place."""
    return enlarge(x) + 0.2 * (torch.arange(512) // 2 % 2)


def losses(restore: Callable[[Tensor], Tensor], mask: Tensor | None = None) -> list[float]:
    def loss(seed: int) -> float:
        generator = torch.Generator().manual_seed(seed)
        parts = Module(0.5).shift_consistency((FACES,), restore(FACES), restore, generator, mask)
        return float(parts["shift_consistency"])

    return [loss(seed) for seed in range(12)]


def test_network_that_moves_with_the_face_has_no_loss() -> None:
    assert losses(enlarge) == [0] * 12


def test_stripes_that_stay_in_place_cost_their_contrast() -> None:
    """By an odd shift they are opposite to the picture's, by an even one they are the same."""
    assert {round(loss, 4) for loss in losses(hatch)} == {0, 0.5 * 0.2}


def test_only_masked_faces_and_every_second_one_count() -> None:
    none = losses(hatch, torch.tensor([False, True, False, True]))
    one = losses(hatch, torch.tensor([True, True, False, False]))
    assert none == [0] * 12
    assert {round(loss, 4) for loss in one} == {0, 0.5 * 0.2 / 2}


def test_all_inputs_are_shifted_alike() -> None:
    def restore(x: Tensor, other: Tensor) -> Tensor:
        assert torch.equal(x, other)
        assert not torch.equal(x, FACES[::2])
        return enlarge(x)

    Module(0.5).shift_consistency((FACES, FACES), enlarge(FACES), restore, torch.Generator())


def test_no_weight_means_no_loss() -> None:
    assert Module(0.0).shift_consistency((FACES,), FACES, enlarge, torch.Generator()) == {}


@pytest.mark.slow
def test_training_on_the_loss_alone_removes_the_lattice() -> None:
    torch.manual_seed(0)
    net, module, generator = ExpertF(FIRST), Module(1.0), torch.Generator().manual_seed(0)
    torch.nn.init.normal_(net.leave256.weight, std=0.5)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)

    def power() -> float:
        with torch.no_grad():
            return float(lattice(axis_power(net(FACES).image).mean(0)))

    before = power()
    for _ in range(25):
        parts = module.shift_consistency((FACES,), net(FACES).image, lambda x: net(x).image, generator)
        optimizer.zero_grad()
        parts["shift_consistency"].backward()
        optimizer.step()
    assert power() < 0.5 * before


def test_run_logs_the_loss_and_adds_it_to_the_sum(tmp_path: Path) -> None:
    train(
        compose_train(
            "experiment=smoke", "logger=csv", f"paths.logs={tmp_path}", "threads=1",
            "model.loss.weights.shift_consistency=0.5", "trainer.max_epochs=1", "trainer.limit_val_batches=0",
            "callbacks.best=null", "callbacks.curves=null", "trainer.max_time=null",
        )
    )  # fmt: skip
    curves = read_curves(tmp_path / "smoke/csv/metrics.csv")
    parts = [n for n in curves if n.startswith("loss/")]
    assert min(curves["loss/shift_consistency"][1]) >= 0
    np.testing.assert_allclose(curves["loss"][1], np.sum([curves[p][1] for p in parts], 0), rtol=1e-5)
