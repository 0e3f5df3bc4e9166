"""Training of the network that marks obstructions: losses with known answers, and a run on drawn faces."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from likeness.data.modules import PairsDataModule
from likeness.data.obstruction_module import ObstructionDataModule
from likeness.data.sources import CartoonSource
from likeness.nets.obstructions import CLASSES
from likeness.tasks.export import ExportOptions, export
from likeness.training.obstructions import segmentation_losses
from likeness.training.run import build, train
from likeness.weights.files import load_weights
from likeness.weights.manifest import released
from likeness.weights.networks import load_network

from .conftest import compose_train

ONES = torch.ones(len(CLASSES))


def test_sure_and_right_scores_cost_nothing() -> None:
    labels = torch.randint(0, len(CLASSES), (2, 16, 16), generator=torch.Generator().manual_seed(0))
    scores = 100 * torch.nn.functional.one_hot(labels, len(CLASSES)).permute(0, 3, 1, 2).float()
    losses = segmentation_losses(scores, labels, torch.ones_like(labels, dtype=torch.bool), ONES)
    assert float(losses["cross_entropy"]) == pytest.approx(0, abs=1e-5)
    assert float(losses["dice"]) == pytest.approx(0, abs=1e-5)


def test_even_scores_cost_the_logarithm_of_their_number() -> None:
    labels = torch.zeros(1, 8, 8, dtype=torch.int64)
    losses = segmentation_losses(torch.zeros(1, 7, 8, 8), labels, torch.ones(1, 8, 8, dtype=torch.bool), ONES)
    assert float(losses["cross_entropy"]) == pytest.approx(torch.log(torch.tensor(7.0)).item())
    assert float(losses["dice"]) == pytest.approx(1 - 2 / 8)  # 2 * 64/7 over 64/7 + 64


def test_pixels_without_truth_have_no_gradient() -> None:
    scores = torch.randn(1, 7, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    valid = torch.zeros(1, 8, 8, dtype=torch.bool)
    valid[:, :, :4] = True
    losses = segmentation_losses(scores, torch.ones(1, 8, 8, dtype=torch.int64), valid, ONES)
    (losses["cross_entropy"] + losses["dice"]).backward()
    assert scores.grad is not None
    assert float(scores.grad[..., 4:].abs().max()) == 0
    assert float(scores.grad[..., :4].abs().min()) > 0


def test_training_starts_from_given_weights() -> None:
    file = released("obstructions")
    module = build(compose_train("experiment=obstructions", f"init={file}", "paths.data=unused").model)
    for name, weight in load_weights(file, "obstructions").tensors.items():
        assert torch.equal(module.net.state_dict()[name], weight), name


def test_a_training_ends_in_a_weight_file_that_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(self: ObstructionDataModule, **options: object) -> None:
        PairsDataModule.__init__(self, _Config(), None)
        self.config, self.weights = _Config(), None
        self.train_source, self.val_source = CartoonSource(4), CartoonSource(2, first_seed=100)

    monkeypatch.setattr(ObstructionDataModule, "__init__", drawn)
    monkeypatch.setattr(ObstructionDataModule, "prepare_data", lambda self: None)
    monkeypatch.setattr(ObstructionDataModule, "setup", lambda self, stage=None: None)
    cfg = compose_train(
        "experiment=obstructions", "logger=csv", f"paths.logs={tmp_path}", "threads=1", "paths.data=unused",
        "trainer.max_epochs=1", "trainer.max_time=null", "model.net.config.widths=[8,8,8,8]",
    )  # fmt: skip
    metrics, _ = train(cfg)
    assert 0 <= metrics["val/cost"] <= 1
    file = tmp_path / "obstructions.safetensors"
    export(ExportOptions(ckpt=str(tmp_path / "obstructions" / "checkpoints" / "last.ckpt"), dst=str(file)))
    net, _ = load_network("obstructions", file)
    assert net(torch.zeros(1, 3, 32, 32)).shape == (1, len(CLASSES), 32, 32)


class _Config:
    """The fields of `FaceDataConfig` that the loaders read."""

    batch_size, epoch_images, val_faces, workers, seed = 2, 4, 2, 0, 0
