"""Training for clips: what a neighbouring frame is, and a loss that asks a face to hold still."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from likeness.data.faces import resize_face
from likeness.data.recipes import FILM, Drawn, apply
from likeness.data.restoration import Collate, DrawnSource, MixConfig, TrainingPairs
from likeness.errors import ConfigError
from likeness.nets.expert_f import ExpertF
from likeness.training.base import as_tensor
from likeness.training.callbacks import read_curves
from likeness.training.expert_f import ExpertFModule
from likeness.training.losses.restoration import LossWeights, RestorationLoss
from likeness.training.run import train
from tests.tiny import FIRST

from .conftest import compose_train

FILMS = MixConfig(recipes={"film": 1.0}, codec=0, soft=0, unknown=0)
STILLS = MixConfig(recipes={"gfpgan": 0.5, "clean": 0.5}, codec=0, soft=0, unknown=0)


def samples(mix: MixConfig, count: int = 4) -> list[dict[str, Any]]:
    pairs = TrainingPairs(DrawnSource(2), mix, None, 5, 8)
    return [pairs[i] for i in range(count)]


@pytest.mark.parametrize("mix", [FILMS, STILLS], ids=["films", "stills"])
def test_a_neighbour_is_the_next_frame_of_the_same_face(mix: MixConfig) -> None:
    made = samples(mix)
    for sample in made:
        sample["drawn"]["noise"] = 0.0  # what is left is fixed
    made[0]["drawn"]["frame"] = FILM - 1  # the last has none after it
    kept = deepcopy(made)
    batch = Collate(neighbours=True)(made)
    for i, sample in enumerate(made):
        drawn = Drawn(**sample["drawn"])
        after = replace(drawn, frame=FILM - 2 if drawn.frame == FILM - 1 else drawn.frame + 1)
        expected = apply(resize_face(sample["truth"].numpy(), 256), after, np.random.default_rng(0))
        np.testing.assert_array_equal(batch["neighbour"][i], expected)
        for name in ("truth", "input", "sharp"):
            assert torch.equal(batch[name][i], kept[i][name])
            assert torch.equal(sample[name], kept[i][name])


def test_noise_is_another_one_and_the_same_each_time() -> None:
    made = samples(FILMS)
    noisy = [s for s in made if s["drawn"]["noise"] > 1]
    first, again = Collate(neighbours=True)(noisy), Collate(neighbours=True)(noisy)
    assert len(noisy)
    assert torch.equal(first["neighbour"], again["neighbour"])
    apart = (first["neighbour"].float() - first["input"].float()).abs().mean((1, 2, 3))
    assert (apart > 0.3).all()


class Module(ExpertFModule):
    """Without a network: only how the part of the loss is made."""

    def __init__(self, steady: float) -> None:
        torch.nn.Module.__init__(self)
        self.loss = RestorationLoss(LossWeights(identity=0, lpips=0, steady=steady))


def doubled(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.interpolate(x, scale_factor=2)


def test_the_part_is_the_mean_change_of_the_faces_that_count() -> None:
    dark, bright = torch.zeros(2, 256, 256, 3, dtype=torch.uint8), torch.full((2, 256, 256, 3), 51, dtype=torch.uint8)
    image = torch.zeros(2, 3, 512, 512)
    flickers = {"neighbour": torch.stack([dark[0], bright[1]])}
    assert Module(0.5).steady(flickers, image, doubled)["steady"] == pytest.approx(0.5 * 0.2 / 2)
    one = torch.tensor([True, False])
    assert Module(0.5).steady(flickers, image, doubled, one)["steady"] == 0
    assert Module(0.5).steady(flickers, image, doubled, ~one)["steady"] == pytest.approx(0.5 * 0.2 / 2)
    assert Module(0.0).steady({}, image, doubled) == {}


def test_a_weight_without_neighbours_is_not_swallowed() -> None:
    with pytest.raises(ConfigError, match=r"give data\.neighbours=true"):
        Module(0.5).steady({}, torch.zeros(1, 3, 512, 512), doubled)


def test_a_batch_may_hold_neighbours_and_exchanged_faces() -> None:
    made = samples(STILLS)
    both = Collate(exchange=True, neighbours=True)(made)
    assert torch.equal(both["exchanged"], Collate(exchange=True)(made)["exchanged"])
    assert torch.equal(both["neighbour"], Collate(neighbours=True)(made)["neighbour"])


def test_it_is_learned_from(tmp_path: Path) -> None:
    """Steps down this part alone make neighbouring frames more alike."""
    torch.manual_seed(0)
    net, module = ExpertF(FIRST), Module(1.0)
    batch = Collate(neighbours=True)(samples(FILMS, 2))
    x = as_tensor(batch["input"])
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    found = []
    for _ in range(25):
        part = module.steady(batch, net(x).image, lambda after: net(after).image)["steady"]
        found.append(float(part.detach()))
        optimizer.zero_grad()
        part.backward()
        optimizer.step()
    assert found[-1] < 0.8 * found[0]


def test_a_run_logs_it_beside_the_other_parts(tmp_path: Path) -> None:
    films = [f"data.mix.recipes.{name}={float(name == 'film')}" for name in MixConfig().recipes]
    train(
        compose_train(
            "experiment=smoke", "logger=csv", f"paths.logs={tmp_path}", "threads=1", "data.neighbours=true", *films,
            "model.loss.weights.steady=0.5", "trainer.max_epochs=1", "trainer.limit_val_batches=0",
            "callbacks.best=null", "trainer.max_time=null",
        )
    )  # fmt: skip
    curves = read_curves(tmp_path / "smoke/csv/metrics.csv")
    parts = [n for n in curves if n.startswith("loss/")]
    assert min(curves["loss/steady"][1]) > 0
    np.testing.assert_allclose(curves["loss"][1], np.sum([curves[p][1] for p in parts], 0), rtol=1e-5)
