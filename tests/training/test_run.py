"""Training as a whole: results, exact resumption, and checkpoints with the validated weights."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from likeness.errors import ConfigError, DataError, WeightsError
from likeness.nets.expert_f import ExpertF, ExpertFConfig
from likeness.tasks.export import ExportOptions, export
from likeness.training.callbacks import read_curves
from likeness.training.run import build, resolve_checkpoint, train
from likeness.weights.files import load_weights

ROOT = Path(__file__).resolve().parents[2]


def read(file: Path) -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(file, weights_only=False)
    return checkpoint


def same_weights(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


def test_smoke_run_trains_and_writes_its_files(straight: Any) -> None:
    assert straight.objects["trainer"].global_step == 8
    assert straight.objects["model"].images_seen == 16
    assert np.isfinite(list(straight.metrics.values())).all()
    for file in ("checkpoints/best.ckpt", "checkpoints/last.ckpt", "panel.png", "curves.png", "csv/metrics.csv"):
        assert (straight.folder / file).stat().st_size > 0, file
    with Image.open(straight.folder / "panel.png") as panel:
        assert panel.size == (768, 256)  # input | restored | truth of the one validation face
        pixels = np.asarray(panel).astype(float)
    truth = straight.objects["data"].val_source.face(0).reshape(256, 2, 256, 2, 3).mean((1, 3))
    assert np.abs(pixels[:, 512:] - truth).max() <= 1
    curves = read_curves(straight.folder / "csv/metrics.csv")
    assert curves["loss"][0] == list(range(8))
    assert curves["images"][1] == [2.0 * i for i in range(1, 9)]
    # One step of warm-up, then a cosine to almost zero.
    expected = 1.5e-3 * 0.5 * (1 + np.cos(np.pi * np.arange(8) / 8))
    np.testing.assert_allclose(curves["lr"][1], expected, rtol=1e-5)


@pytest.mark.parametrize("step", [3, 4])
def test_resumed_training_equals_an_uninterrupted_one(step: int, straight: Any, quick: Any, tmp_path: Path) -> None:
    """From the middle of the first epoch and from its end."""
    last = tmp_path / "smoke/checkpoints/last.ckpt"
    last.parent.mkdir(parents=True)
    shutil.copy(straight.steps[step], last)
    metrics, objects = train(quick("ckpt_path=last"))
    assert objects["trainer"].global_step == 8
    assert objects["model"].images_seen == 16
    assert metrics == pytest.approx(straight.metrics, abs=1e-6)
    last_states = [read(folder / "checkpoints/last.ckpt") for folder in (straight.folder, tmp_path / "smoke")]
    for kind in ("state_dict", "current_model_state"):
        assert same_weights(last_states[0][kind], last_states[1][kind])


def test_without_the_loaders_state_a_resumed_run_differs(straight: Any, quick: Any, tmp_path: Path) -> None:
    """The epoch starts again."""
    checkpoint = read(straight.steps[3])
    assert checkpoint["loops"]["fit_loop"]["state_dict"].pop("combined_loader") == [{"epoch": 0, "batches": 3}]
    torch.save(checkpoint, tmp_path / "cut.ckpt")
    _, objects = train(quick(f"ckpt_path={tmp_path}/cut.ckpt"))
    assert objects["trainer"].global_step == 8
    last_state = read(tmp_path / "smoke/checkpoints/last.ckpt")["state_dict"]
    assert not same_weights(last_state, read(straight.folder / "checkpoints/last.ckpt")["state_dict"])


def test_stored_weights_are_the_moving_average(straight: Any) -> None:
    """Recomputed from the plain weights after every step: a <- 0.998 a + 0.002 w."""
    plain = [read(straight.steps[step])["current_model_state"] for step in range(1, 9)]
    mean = {name: tensor.double() for name, tensor in plain[0].items()}
    for weights in plain[1:]:
        mean = {name: 0.998 * a + 0.002 * weights[name].double() for name, a in mean.items()}
    checkpoint = read(straight.steps[8])
    for name, tensor in checkpoint["state_dict"].items():
        torch.testing.assert_close(tensor.double(), mean[name], atol=1e-7, rtol=1e-5)
    assert not same_weights(checkpoint["state_dict"], checkpoint["current_model_state"])


def test_stored_weights_reproduce_the_validation(straight: Any, quick: Any) -> None:
    cfg = quick()
    model = build(cfg.model)
    model.load_state_dict(read(straight.folder / "checkpoints/last.ckpt")["state_dict"])
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    (reproduced,) = trainer.validate(model, datamodule=build(cfg.data), verbose=False)
    expected = {name: value for name, value in straight.metrics.items() if name.startswith("val/")}
    assert reproduced == pytest.approx(expected, abs=1e-5)
    assert read(straight.folder / "checkpoints/last.ckpt")["metrics"] == pytest.approx(expected, abs=1e-6)


def test_export_and_init_use_the_averaged_weights(straight: Any, quick: Any, tmp_path: Path) -> None:
    last = straight.folder / "checkpoints/last.ckpt"
    file = export(ExportOptions(str(last), str(tmp_path / "e.safetensors")))
    exported = load_weights(file, "expert_f")
    average = {n.removeprefix("net."): t.half().float() for n, t in read(last)["state_dict"].items()}
    assert same_weights(dict(exported.tensors), average)
    assert exported.notes["steps"] == 8
    assert exported.notes["images"] == 16
    model = build(quick(f"init={file}").model)
    assert same_weights(model.net.state_dict(), average)
    fresh = build(quick().model)
    assert not same_weights(fresh.net.state_dict(), average)


@pytest.mark.slow
def test_debug_overfit_lowers_the_loss_of_one_batch(quick: Any) -> None:
    size = "model.net.config."
    widths = (f"{size}widths=[24,32,32]", f"{size}skips=[12,24]")
    bare = ("callbacks.at_end=null", "callbacks.best=null", "trainer.check_val_every_n_epoch=1000")
    _, objects = train(cfg := quick("debug=overfit", "data.batch_size=1", "trainer.max_epochs=60", *widths, *bare))
    loss = read_curves(Path(cfg.paths.output) / "csv/metrics.csv")["loss"][1]
    assert len(loss) == objects["trainer"].global_step == 60
    assert min(loss[-5:]) < 0.7 * loss[0]
    assert np.mean(loss[-10:]) < np.mean(loss[20:30]) < np.mean(loss[:5])


@pytest.mark.parametrize("debug", ["default", "fdr", "limit", "profiler"])
def test_debug_configs_run(debug: str, quick: Any) -> None:
    _, objects = train(quick(f"debug={debug}", "data.epoch_images=4"))
    steps = {"default": 2, "fdr": 1, "limit": 2, "profiler": 2}
    assert objects["trainer"].global_step == steps[debug]


def test_nan_loss_is_an_error_that_names_the_step(quick: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {"l1": torch.tensor(float("nan"))}
    monkeypatch.setattr("likeness.training.losses.restoration.RestorationLoss.__call__", lambda *a, **k: broken)
    with pytest.raises(ConfigError, match=r"the loss is nan at step 0; lower optimizer\.lr"):
        train(quick("debug=fdr"))


BAD = {
    "no init file": (("init=/nowhere.safetensors",), WeightsError, "/nowhere.safetensors does not exist"),
    "no checkpoint": (("ckpt_path=/nowhere.ckpt",), ConfigError, "/nowhere.ckpt does not exist"),
    "nothing to resume": (("ckpt_path=last",), ConfigError, "last.ckpt does not exist"),
    "probabilities": (("data.mix.recipes.clean=0.5",), ConfigError, "the probabilities sum to"),
    "unknown option": (("+data.bach_size=3",), ConfigError, "bach_size"),
    "unknown target": (("model.net._target_=likeness.nets.expert_f.ExpertG",), ConfigError, "ExpertG"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_config_is_an_error_of_one_line(name: str, quick: Any) -> None:
    overrides, kind, message = BAD[name]
    with pytest.raises(kind, match=message) as error:
        train(quick(*overrides))
    assert "\n" not in str(error.value)


def test_missing_data_is_an_error(composed: Any, tmp_path: Path) -> None:
    cfg = composed("data.root=/nowhere", f"paths.logs={tmp_path}")
    with pytest.raises(DataError, match=r"no face data: /nowhere/manifest\.csv"):
        train(cfg)


def test_command_without_data_prints_one_line_and_exits(tmp_path: Path) -> None:
    """Without a W&B key and without a terminal, too."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LIKENESS_", "WANDB_"))}
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), f"paths.logs={tmp_path}"],
        env={**environment, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "src")},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == DataError.exit_code
    lines = [line for line in done.stderr.splitlines() if line]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: no face data: data/faces/manifest.csv does not exist")
    assert "Traceback" not in done.stdout


def test_checkpoint_is_resolved_by_path_or_as_the_last_one(tmp_path: Path) -> None:
    assert resolve_checkpoint(None, tmp_path) is None
    assert resolve_checkpoint("", tmp_path) is None
    file = tmp_path / "checkpoints/last.ckpt"
    file.parent.mkdir()
    file.touch()
    assert resolve_checkpoint("last", tmp_path) == str(file)
    assert resolve_checkpoint(str(file), tmp_path / "elsewhere") == str(file)


def test_checkpoint_contains_the_networks_config(straight: Any) -> None:
    config = read(straight.steps[1])["net_config"]
    net = ExpertF(ExpertFConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}))
    stored = read(straight.steps[1])["state_dict"]
    assert {f"net.{n}": t.shape for n, t in net.state_dict().items()} == {n: t.shape for n, t in stored.items()}
