"""Two processes train like one with twice the batch size."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
# Left out: losses that are no mean over samples, and an optimiser that amplifies rounding errors.
COMMON = (
    "experiment=smoke", "threads=1", "seed=3", "data.train_faces=4", "data.val_faces=1", "data.epoch_images=8",
    "data.mix.soft_truth=0", "data.mix.codec=0", "model.loss.weights.identity=0", "model.loss.weights.lattice=0",
    "model.optimizer._target_=torch.optim.SGD", "model.optimizer.lr=0.05", "~model.optimizer.nesterov",
    "~model.optimizer.betas", "trainer.accelerator=cpu",
)  # fmt: skip


def launch(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Runs train.py in separate processes."""
    return subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *options],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
    )


def trained(folder: Path, *options: str) -> dict[str, Any]:
    """Trains Expert-F and returns the last checkpoint."""
    done = launch(folder, *COMMON, *options, f"paths.logs={folder}")
    assert done.returncode == 0, done.stderr[-2000:]
    checkpoint: dict[str, Any] = torch.load(folder / "smoke/checkpoints/last.ckpt", weights_only=False)
    return checkpoint


PRIOR = (
    "experiment=vq_prior", "data=synthetic_faces", "~data.synthetic", "threads=1", "data.train_faces=4",
    "data.val_faces=1", "data.epoch_images=8", "data.batch_size=1", "data.mix.soft_truth=0.5", "logger=csv",
    "trainer=ddp", "trainer.accelerator=cpu",
    "trainer.max_time=null", "trainer.max_epochs=2", "trainer.precision=32-true", "model.gan.start=0.25",
    "model.gan.head_start=0", "model.gan.width=4", "model.net.config.codes=16", "model.net.config.code_width=4",
    "model.net.config.widths=[12,8,8,4]", "model.net.config.encoder=[0,1,1]", "model.net.config.decoder=[1,1,1]",
    "model.loss.weights.identity=0", "model.loss.weights.lpips=0", "trainer.log_every_n_steps=1",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="gloo's processes are not forked there")
def test_two_processes_train_the_prior_and_its_discriminator(tmp_path: Path) -> None:
    """One random face each, soft or sharp: a process without a sharp face must not block the other."""
    common = (*PRIOR, f"paths.logs={tmp_path}")
    refused = launch(tmp_path, *common)
    assert refused.returncode != 0
    assert "trainer.strategy=ddp_find_unused_parameters_true" in refused.stderr
    done = launch(tmp_path, *common, "trainer.strategy=ddp_find_unused_parameters_true")
    assert done.returncode == 0, done.stderr[-2000:]
    checkpoint = torch.load(tmp_path / "vq_prior/checkpoints/last.ckpt", weights_only=False)
    assert checkpoint["global_step"] == 8
    assert checkpoint["images_seen"] == 16
    steps = [int(s["step"]) for s in checkpoint["optimizer_states"][1]["state"].values()]
    assert set(steps) == {6}  # of eight steps; the GAN starts after a quarter


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="gloo's processes are not forked there")
def test_two_processes_equal_one_with_twice_the_batch_size(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one = trained(tmp_path / "one", "data.batch_size=4", "trainer=cpu")
    two = trained(tmp_path / "two", "data.batch_size=2", "trainer=ddp")
    assert one["global_step"] == two["global_step"] == 4
    assert one["images_seen"] == two["images_seen"] == 16
    states = one["current_model_state"], two["current_model_state"]
    start = {name: torch.zeros_like(t) for name, t in states[0].items()}
    for name, expected in states[0].items():
        found = states[1][name]
        assert torch.allclose(found, expected, atol=2e-5, rtol=1e-3), name
    moved = sum(float((t - start[n]).abs().sum()) for n, t in states[0].items() if "leave256" in n)
    assert moved > 0, "the last layer starts at zero and must have learned"
