"""Training the prior: two optimisers, a late GAN, a resumed run, a collapsed codebook."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from likeness.nets.prior import Prior, PriorConfig, low_band
from likeness.tasks.export import ExportOptions, export
from likeness.training.callbacks import read_curves
from likeness.training.prior import PriorModule
from likeness.training.run import build, train
from likeness.training.views import codebook_sheet, interpolation, reconstructions
from likeness.weights.networks import load_prior

from .conftest import compose_train

SIZE = "model.net.config."
TINY = (
    "experiment=vq_prior",
    "data=synthetic_faces",
    "~data.synthetic",
    "data.train_faces=2",
    "data.val_faces=1",
    "logger=csv",
    "threads=1",
    f"{SIZE}codes=16",
    f"{SIZE}code_width=4",
    f"{SIZE}widths=[12,8,8,4]",
    f"{SIZE}encoder=[0,1,1]",
    f"{SIZE}decoder=[1,1,1]",
    "model.gan.width=4",
    "model.gan.start=0.5",
    "model.gan.head_start=0",
    "model.loss.weights.identity=0",
    "model.loss.weights.lpips=0",
    "trainer.max_time=null",
    "trainer.max_epochs=2",
    "trainer.precision=32-true",
    "trainer.log_every_n_steps=1",
    "callbacks.schedule.warmup=1",
    "callbacks.curves=null",
)
EVERY = (
    "+callbacks.every._target_=lightning.pytorch.callbacks.ModelCheckpoint",
    "+callbacks.every.every_n_train_steps=1",
    "+callbacks.every.save_top_k=-1",
    "+callbacks.every.auto_insert_metric_name=false",
    "+callbacks.every.filename='{step}'",
)


def read(file: Path) -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(file, weights_only=False)
    return checkpoint


def part(checkpoint: dict[str, Any], prefix: str) -> dict[str, Tensor]:
    return {
        n: t
        for n, t in checkpoint["current_model_state"].items()
        if n.startswith(f"module.{prefix}") or n.startswith(prefix)
    }


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return bool(a) and a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float], dict[str, Any]]:
    """Eight steps without interruption, with a checkpoint after each."""
    logs = tmp_path_factory.mktemp("prior")
    metrics, objects = train(
        compose_train(*TINY, *EVERY, f"+callbacks.every.dirpath={logs}/steps", f"paths.logs={logs}")
    )
    return logs, metrics, objects


def test_global_step_counts_the_priors_steps_and_all_losses_are_logged(straight: Any) -> None:
    logs, metrics, objects = straight
    assert objects["trainer"].global_step == 8
    assert objects["model"].images_seen == 16
    assert np.isfinite(list(metrics.values())).all()
    curves = read_curves(logs / "vq_prior/csv/metrics.csv")
    parts = {"l1", "chroma", "frequency", "lattice", "commitment"}
    assert {f"loss/{p}" for p in parts} <= set(curves)
    total = np.sum([curves[f"loss/{p}"][1] for p in parts], 0)
    np.testing.assert_allclose(curves["loss"][1], total, rtol=1e-5)
    assert {"val/codes_used", "val/codes_perplexity", "val/codes_alike", "val/clean/psnr", "grad_norm"} <= set(curves)


def test_discriminator_is_trained_from_gan_start_on(straight: Any) -> None:
    logs, _, _ = straight
    curves = read_curves(logs / "vq_prior/csv/metrics.csv")
    for name in ("gan/scores", "gan/discriminator"):
        assert curves[name][0] == [4, 5, 6, 7], name
    states = [part(read(logs / f"steps/{step}.ckpt"), "gan.") for step in (1, 4, 5)]
    weights = [{n: t for n, t in s.items() if "original" in n or "bias" in n} for s in states]
    assert same(weights[0], weights[1])
    assert not same(weights[1], weights[2])


@pytest.mark.parametrize("step", [3, 6])
def test_resumed_training_equals_an_uninterrupted_one(step: int, straight: Any, tmp_path: Path) -> None:
    """From before and after the start of the GAN: both networks, the codebook, both optimisers."""
    logs, metrics, _ = straight
    last = tmp_path / "vq_prior/checkpoints/last.ckpt"
    last.parent.mkdir(parents=True)
    shutil.copy(logs / f"steps/{step}.ckpt", last)
    resumed, objects = train(compose_train(*TINY, f"paths.logs={tmp_path}", "ckpt_path=last"))
    assert objects["trainer"].global_step == 8
    last_states = [read(folder / "vq_prior/checkpoints/last.ckpt") for folder in (logs, tmp_path)]
    for kind in ("state_dict", "current_model_state"):
        assert same(last_states[0][kind], last_states[1][kind]), kind
    moments = [e["optimizer_states"][1]["state"] for e in last_states]
    assert moments[0].keys() == moments[1].keys() != set()
    assert all(torch.equal(moments[0][i]["exp_avg"], moments[1][i]["exp_avg"]) for i in moments[0])
    assert resumed == pytest.approx(metrics, abs=1e-6)


def prior_after_one_step(folder: Path, *options: str) -> dict[str, Tensor]:
    bare = ("trainer.max_steps=1", "callbacks.best=null", "callbacks.at_end=null", "callbacks.codebook=null")
    _, objects = train(compose_train(*TINY, *bare, "trainer.limit_val_batches=0", *options, f"paths.logs={folder}"))
    return {n: p.detach().clone() for n, p in objects["model"].net.named_parameters()}


def test_gan_changes_the_prior_only_with_sharp_truths(tmp_path: Path) -> None:
    early = ("model.gan.start=0", "model.gan.head_start=0")
    without = prior_after_one_step(tmp_path / "a", *early, "model.gan.weight=0")
    with_it = prior_after_one_step(tmp_path / "b", *early, "model.gan.weight=1")
    assert not torch.equal(without["decoder.leave256.weight"], with_it["decoder.leave256.weight"])
    soft = ("data.mix.soft_truth=1", *early)
    without = prior_after_one_step(tmp_path / "c", *soft, "model.gan.weight=0")
    with_it = prior_after_one_step(tmp_path / "d", *soft, "model.gan.weight=1")
    assert all(torch.equal(without[n], with_it[n]) for n in without)


def test_discriminator_learns_alone_during_the_head_start(tmp_path: Path) -> None:
    options = ("model.gan.start=0.75", "model.gan.head_start=0.5", "trainer.max_epochs=1", "callbacks.best=null")
    train(compose_train(*TINY, *options, f"paths.logs={tmp_path}"))
    curves = read_curves(tmp_path / "vq_prior/csv/metrics.csv")
    assert curves["gan/discriminator"][0] == [1, 2, 3]
    assert curves["gan/scores"][0] == [3]


def test_both_gradients_are_clipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    norms = []
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda p, norm: norms.append(norm) or torch.zeros(()))
    prior_after_one_step(tmp_path, "model.gan.start=0", "model.gan.head_start=0", "model.max_grad_norm=0.25")
    assert norms == [0.25, 0.25]


def test_last_checkpoint_is_written_within_an_epoch(tmp_path: Path) -> None:
    often = ("callbacks.last.every_n_train_steps=3", "callbacks.at_end=null", "trainer.max_epochs=1")
    train(compose_train(*TINY, *often, f"paths.logs={tmp_path}"))
    assert read(tmp_path / "vq_prior/checkpoints/last.ckpt")["global_step"] == 3


def test_prior_overfits_one_batch(tmp_path: Path) -> None:
    bare = ("debug=overfit", "data.batch_size=1", "trainer.max_epochs=40", "callbacks.at_end=null")
    more = (
        "callbacks.best=null",
        "callbacks.codebook=null",
        "trainer.check_val_every_n_epoch=1000",
        "model.gan.weight=0",
    )
    wide = (f"{SIZE}widths=[24,16,16,8]", f"{SIZE}codes=64", f"{SIZE}code_width=8")
    cfg = compose_train(*TINY, *bare, *more, *wide, f"paths.logs={tmp_path}")
    train(cfg)
    curves = read_curves(Path(cfg.paths.output) / "csv/metrics.csv")
    l1 = curves["loss/l1"][1]
    assert "gan/scores" not in curves
    assert len(l1) == 40
    assert np.mean(l1[-5:]) < 0.9 * l1[0]
    assert np.mean(l1[-10:]) < np.mean(l1[15:25]) < np.mean(l1[:5])


def module(**options: Any) -> PriorModule:
    model = build(compose_train(*TINY).model, **options)
    assert isinstance(model, PriorModule)
    model.net.train()(torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(0)))
    return model


def validate(model: PriorModule, caplog: pytest.LogCaptureFixture) -> dict[str, float]:
    import lightning as L

    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    with caplog.at_level(logging.WARNING, "likeness"):
        (figures,) = trainer.validate(model, datamodule=build(compose_train(*TINY).data), verbose=False)
    return dict(figures)


def test_collapsed_codebook_is_logged_as_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    model = module()
    healthy = validate(model, caplog)
    assert healthy["val/codes_used"] >= 0.5
    assert "collapses" not in caplog.text
    book = model.net.codebook
    middle = torch.nn.functional.normalize(book.vectors.mean(1, keepdim=True), dim=2)
    opposite = torch.cat([middle, -middle * torch.ones(1, 15, 1)], 1)  # one code near the features, fifteen opposite
    book.quantiser.codebook = opposite
    figures = validate(model, caplog)
    assert figures["val/codes_used"] <= 2 / 16
    assert figures["val/codes_perplexity"] <= 2
    assert "the codebook collapses" in caplog.text
    caplog.clear()
    noise = 0.01 * torch.randn(2, 16, 4, generator=torch.Generator().manual_seed(0))
    book.quantiser.codebook = torch.nn.functional.normalize(
        middle + noise, dim=2
    )  # a collapse after dead codes were replaced
    figures = validate(model, caplog)
    assert figures["val/codes_alike"] > 0.95
    assert "the codebook collapses" in caplog.text


def test_export_contains_the_codebook(straight: Any, tmp_path: Path) -> None:
    logs, _, _ = straight
    last = logs / "vq_prior/checkpoints/last.ckpt"
    file = export(ExportOptions(str(last), str(tmp_path / "p.safetensors")))
    net, _ = load_prior(file)
    assert net.config == PriorConfig(16, 4, 2, (12, 8, 8, 4), (0, 1, 1), (1, 1, 1))
    state = {n.removeprefix("net."): t for n, t in read(last)["state_dict"].items() if n.startswith("net.")}
    for name, tensor in net.state_dict().items():
        torch.testing.assert_close(tensor.float(), state[name].half().float(), msg=name)
    again = build(compose_train(*TINY, f"init={file}").model)
    assert same(dict(again.net.state_dict()), dict(net.state_dict()))


@pytest.mark.slow
def test_published_size_builds_and_takes_a_step(tmp_path: Path) -> None:
    """One step of one face at the papers' size, with the discriminator."""
    cfg = compose_train(
        "experiment=vq_prior_published", "data=synthetic_faces", "~data.synthetic", "logger=csv", "data.batch_size=1",
        "data.train_faces=1", "data.val_faces=1", "data.epoch_images=1", "trainer=cpu", "trainer.accelerator=cpu",
        "trainer.devices=1",
        "trainer.max_steps=1", "trainer.precision=32-true", "callbacks.best=null",
        "callbacks.at_end=null", "callbacks.panel=null", "callbacks.codebook=null",
        "model.loss.weights.lpips=0", "model.gan.start=0", "data.mix.soft_truth=0", "trainer.limit_val_batches=0",
        "trainer.log_every_n_steps=1", f"paths.logs={tmp_path}",
    )  # fmt: skip
    metrics, objects = train(cfg)
    weights = sum(p.numel() for p in objects["model"].net.parameters())
    assert 4e7 < weights < 1e8
    assert objects["trainer"].global_step == 1
    assert metrics["gan/discriminator"] > 0
    assert np.isfinite(metrics["loss"])


# views


@pytest.fixture(scope="module")
def net() -> Prior:
    return module().net.eval().requires_grad_(False)


def test_codebook_sheet_shows_every_code_at_its_position(net: Prior) -> None:
    torch.nn.init.normal_(net.decoder.leave256.weight, std=0.1)
    sheet = codebook_sheet(net, 1)
    assert sheet.shape == (32, 16 * 32, 3)
    for code in (0, 7, 15):  # compare with an image of this code alone
        codes = torch.zeros(1, 2, 4, 32, 32)
        codes[:, 1] = net.codebook.vectors[1, code].view(1, 4, 1, 1)
        expected = net.decode(codes.flatten(1, 2), torch.full((1, 3, 16, 16), 0.5))[0, :, 240:272, 240:272]
        shown = sheet[:, 32 * code : 32 * code + 32].astype(float) / 255
        errors = [
            np.abs(sheet[:, 32 * c : 32 * c + 32] / 255 - expected.permute(1, 2, 0).numpy()).mean() for c in range(16)
        ]
        assert int(np.argmin(errors)) == code
        assert np.abs(shown - 0.5).max() > 0.01


def test_reconstructions_are_beside_their_faces(net: Prior) -> None:
    faces = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(3))
    picture = reconstructions(net, faces)
    assert picture.shape == (512, 512, 3)
    np.testing.assert_array_equal(picture[256:, :256], (faces[1].permute(1, 2, 0) * 255).round().byte().numpy())
    expected = torch.nn.functional.avg_pool2d(net(faces[:1]).image, 2)[0].clamp(0, 1).permute(1, 2, 0) * 255
    assert np.abs(picture[:256, 256:].astype(float) - expected.numpy()).max() <= 1


def test_interpolation_ends_at_the_two_faces(net: Prior) -> None:
    faces = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(4))
    picture = interpolation(net, faces[0], faces[1], 3).astype(float)
    both = reconstructions(net, faces).astype(float)
    assert np.abs(picture[:, :256] - both[:256, 256:]).max() <= 1
    assert np.abs(picture[:, 512:] - both[256:, 256:]).max() <= 1
    middle = picture[:, 256:512].reshape(16, 16, 16, 16, 3).mean((1, 3))
    low = (low_band(faces).mean(0).permute(1, 2, 0) * 255).numpy()
    assert np.abs(middle - low).mean() < 12


def test_codebook_sheets_are_written_after_validation(straight: Any) -> None:
    logs, _, _ = straight
    for head in range(2):
        with Image.open(logs / f"vq_prior/codebook_{head}.png") as picture:
            assert picture.size == (512, 32)
