"""The loss on changes between neighbouring frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from likeness.data.collate import Collate
from likeness.data.pairs import MixConfig, TrainingPairs
from likeness.data.sources import CartoonSource
from likeness.errors import ConfigError
from likeness.nets.expert_f import ExpertF
from likeness.ops.tensors import to_float_tensor
from likeness.training.callbacks import read_curves
from likeness.training.expert_f import ExpertFModule
from likeness.training.losses.restoration import LossWeights, RestorationLoss
from likeness.training.run import train
from tests.tiny import FIRST

from .conftest import compose_train


class Module(ExpertFModule):
    """A module without a network."""

    def __init__(self, weight: float) -> None:
        torch.nn.Module.__init__(self)
        self.loss = RestorationLoss(LossWeights(identity=0, lpips=0, temporal_consistency=weight))


def enlarge(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.interpolate(x, scale_factor=2)


def test_loss_is_the_mean_change_of_the_masked_faces() -> None:
    dark, bright = torch.zeros(2, 256, 256, 3, dtype=torch.uint8), torch.full((2, 256, 256, 3), 51, dtype=torch.uint8)
    image = torch.zeros(2, 3, 512, 512)
    batch = {"next_input": torch.stack([dark[0], bright[1]])}  # the second face changes by 0.2

    def loss(mask: torch.Tensor | None = None) -> torch.Tensor:
        return Module(0.5).temporal_consistency(batch, image, enlarge, mask)["temporal_consistency"]

    first = torch.tensor([True, False])
    assert loss() == pytest.approx(0.5 * 0.2 / 2)
    assert loss(first) == 0
    assert loss(~first) == pytest.approx(0.5 * 0.2 / 2)
    assert Module(0.0).temporal_consistency({}, image, enlarge) == {}


def test_weight_without_frame_pairs_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"give data\.frame_pairs=true"):
        Module(0.5).temporal_consistency({}, torch.zeros(1, 3, 512, 512), enlarge)


@pytest.mark.slow
def test_training_on_the_loss_alone_reduces_the_change_between_frames() -> None:
    torch.manual_seed(0)
    net, module = ExpertF(FIRST), Module(1.0)
    mix = MixConfig(recipes={"film": 1.0}, codec=0, soft_truth=0, inpainting=0)
    pairs = TrainingPairs(CartoonSource(2), mix, None, 5, 8)
    batch = Collate(frame_pairs=True)([pairs[0], pairs[1]])
    x = to_float_tensor(batch["input"])
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    losses = []
    for _ in range(25):
        loss = module.temporal_consistency(batch, net(x).image, lambda frame: net(frame).image)["temporal_consistency"]
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.8 * losses[0]


def test_run_logs_the_loss_and_adds_it_to_the_sum(tmp_path: Path) -> None:
    films = [f"data.mix.recipes.{name}={float(name == 'film')}" for name in MixConfig().recipes]
    train(
        compose_train(
            "experiment=smoke", "logger=csv", f"paths.logs={tmp_path}", "threads=1", "data.frame_pairs=true", *films,
            "model.loss.weights.temporal_consistency=0.5", "trainer.max_epochs=1", "trainer.limit_val_batches=0",
            "callbacks.best=null", "callbacks.curves=null", "trainer.max_time=null",
        )
    )  # fmt: skip
    curves = read_curves(tmp_path / "smoke/csv/metrics.csv")
    parts = [n for n in curves if n.startswith("loss/")]
    assert min(curves["loss/temporal_consistency"][1]) > 0
    np.testing.assert_allclose(curves["loss"][1], np.sum([curves[p][1] for p in parts], 0), rtol=1e-5)
