"""Training towards the picture of the first weights, and towards their mean over shifted inputs; who loses dots."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.errors import ConfigError
from likeness.metrics.lattice import axis_power, lattice
from likeness.nets.expert_f import ExpertF
from likeness.training.base import TrainingConfig
from likeness.training.callbacks import read_curves
from likeness.training.expert_f import ExpertFModule
from likeness.training.losses.dots import invented_dots
from likeness.training.losses.restoration import LossWeights, RestorationLoss
from likeness.training.run import build, train
from likeness.weights.files import save_weights
from tests.tiny import FIRST

from .conftest import compose_train

FACES = torch.rand(4, 3, 256, 256, generator=torch.Generator().manual_seed(0))


Restore = Callable[[Tensor], Tensor]


class Module(ExpertFModule):
    """A module without a network."""

    def __init__(self, weight: float, keep: float = 0.0) -> None:
        torch.nn.Module.__init__(self)
        self.loss = RestorationLoss(LossWeights(identity=0, lpips=0, cycle_spinning=weight, keep=keep))


def enlarge(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2)


def hatch(x: Tensor) -> Tensor:
    """Enlarges and adds stripes of a period of 4 pixels, which stay in place."""
    return enlarge(x) + 0.2 * (torch.arange(512) // 2 % 2)


def losses(restore: Restore, image: Tensor, mask: Tensor | None = None) -> list[float]:
    def loss(seed: int) -> float:
        generator = torch.Generator().manual_seed(seed)
        return float(Module(0.5).first_picture((FACES,), image, restore, generator, mask)["cycle_spinning"])

    return [loss(seed) for seed in range(12)]


def test_network_that_moves_with_the_face_has_no_loss() -> None:
    assert losses(enlarge, enlarge(FACES)) == [0] * 12


def test_stripes_that_stay_in_place_cost_their_squared_contrast() -> None:
    """By an odd shift they are opposite to the picture's, by an even one they are the same."""
    assert {round(loss, 5) for loss in losses(hatch, hatch(FACES))} == {0, 0.02}  # 0.5 * 0.2 ** 2


def test_mean_over_shifts_has_the_least_loss() -> None:
    """Halfway between the stripes and none, both shifts cost the same; that is less than the mean of the two above."""
    assert {round(loss, 5) for loss in losses(hatch, enlarge(FACES) + 0.1)} == {0.005}  # 0.5 * 0.1 ** 2


def test_only_masked_faces_count() -> None:
    one = losses(hatch, hatch(FACES), torch.tensor([True, False, False, False]))
    assert {round(loss, 5) for loss in one} == {0, 0.005}  # 0.5 * 0.2 ** 2 / 4


def test_kept_picture_is_not_shifted() -> None:
    def loss(image: Tensor) -> dict[str, Tensor]:
        return Module(0, keep=0.5).first_picture((FACES,), image, hatch, torch.Generator())

    assert loss(hatch(FACES)) == {"keep": 0}
    assert float(loss(hatch(FACES) + 0.1)["keep"]) == pytest.approx(0.005)  # 0.5 * 0.1 ** 2


CHOSEN = {"all": ((), [0, 1, 2]), "one": (("heavy",), [1]), "two": (("heavy", "film"), [1, 2]), "none": (("mild",), [])}


@pytest.mark.parametrize("name", CHOSEN)
def test_recipes_choose_who_loses_dots(name: str) -> None:
    chosen, counted = CHOSEN[name]
    module = Module(0)
    module.loss = RestorationLoss(LossWeights(identity=0, lpips=0, dots=2.0))
    module.config = TrainingConfig(lambda parameters: torch.optim.SGD(parameters), dots_recipes=chosen)
    truth = torch.full((3, 3, 512, 512), 0.6)
    image, valid, sharp = truth.clone(), torch.ones(3, 1, 512, 512, dtype=torch.bool), torch.ones(3, dtype=torch.bool)
    image[..., 300:304, 100:104] -= torch.tensor([0.1, 0.2, 0.4])[:, None, None, None]
    batch = {"params": {"recipe": ["gfpgan", "heavy", "film"]}}
    found = float(module.dots(batch, image, truth, sharp, valid)["dots"])
    single = [float(invented_dots(image[i : i + 1], truth[:1], valid[:1], sharp[:1])) for i in range(3)]
    assert len(set(single)) == 3
    assert found == pytest.approx(2 * np.mean([single[i] for i in counted]) if counted else 0, rel=1e-4)
    module.loss = RestorationLoss(LossWeights(identity=0, lpips=0))
    assert module.dots(batch, image, truth, sharp, valid) == {}


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(ConfigError, match="heavyy"):
        TrainingConfig(lambda parameters: torch.optim.SGD(parameters), dots_recipes=("heavyy",))


def test_all_inputs_are_shifted_alike() -> None:
    def restore(x: Tensor, other: Tensor) -> Tensor:
        assert torch.equal(x, other)
        assert not torch.equal(x, FACES)
        return enlarge(x)

    Module(0.5).first_picture((FACES, FACES), enlarge(FACES), restore, torch.Generator())


def test_no_weight_means_no_loss() -> None:
    assert Module(0.0).first_picture((FACES,), FACES, enlarge, torch.Generator()) == {}


@pytest.mark.slow
def test_training_on_the_loss_alone_removes_the_lattice() -> None:
    torch.manual_seed(0)
    net, module, generator = ExpertF(FIRST), Module(1.0), torch.Generator().manual_seed(0)
    torch.nn.init.normal_(net.leave256.weight, std=0.5)
    first = copy.deepcopy(net)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)

    def power() -> float:
        with torch.no_grad():
            return float(lattice(axis_power(net(FACES).image).mean(0)))

    before = power()
    for _ in range(25):
        parts = module.first_picture((FACES,), net(FACES).image, lambda x: first(x).image, generator)
        optimizer.zero_grad()
        parts["cycle_spinning"].backward()
        optimizer.step()
    assert power() < 0.5 * before


def test_it_needs_weights_to_start_from() -> None:
    with pytest.raises(ConfigError, match="without init=FILE; give the weights to learn from"):
        train(compose_train("experiment=smoke", "model.loss.weights.cycle_spinning=1", "logger=csv"))


def test_run_logs_the_loss_and_adds_it_to_the_sum(tmp_path: Path) -> None:
    file = tmp_path / "start.safetensors"
    start = build(compose_train("experiment=smoke").model).net
    save_weights(file, "expert_f", start.config.to_dict(), start.state_dict(), {})
    train(
        compose_train(
            "experiment=smoke", "logger=csv", f"init={file}", f"paths.logs={tmp_path}", "threads=1",
            "model.loss.weights.cycle_spinning=0.5", "trainer.max_epochs=1", "trainer.limit_val_batches=0",
            "callbacks.best=null", "callbacks.curves=null", "trainer.max_time=null",
        )
    )  # fmt: skip
    curves = read_curves(tmp_path / "smoke/csv/metrics.csv")
    parts = [n for n in curves if n.startswith("loss/")]
    assert min(curves["loss/cycle_spinning"][1]) >= 0
    np.testing.assert_allclose(curves["loss"][1], np.sum([curves[p][1] for p in parts], 0), rtol=1e-5)
