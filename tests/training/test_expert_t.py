"""Training Expert-T: which parameters each stage updates, and the losses of its tokens."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from likeness.data.synthetic_faces import draw_face
from likeness.errors import ConfigError
from likeness.nets.expert_f import ExpertF
from likeness.nets.expert_t_data import Knobs
from likeness.nets.prior import Prior, PriorConfig
from likeness.tasks.export import ExportOptions, export
from likeness.training.callbacks import read_curves
from likeness.training.expert_t import TokenConfig
from likeness.training.run import build, train
from likeness.weights.files import file_hash, load_weights, save_weights
from likeness.weights.networks import load_network
from tests.tiny import FIRST, PRIOR

from .conftest import compose_train

SIZE = "model.net.config."
TINY = (
    "data=synthetic_faces",
    "data.train_faces=2",
    "data.val_faces=1",
    "logger=csv",
    "threads=1",
    f"{SIZE}width=12",
    f"{SIZE}heads=2",
    f"{SIZE}quality=3",
    f"{SIZE}read=1",
    f"{SIZE}render=1",
    f"{SIZE}channels=[8,8,8,12]",
    f"{SIZE}hidden=[8,8,8]",
    f"{SIZE}code_width=4",
    f"{SIZE}decoded=[12,8,8]",
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


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Weight files of a tiny prior and a tiny Expert-F."""
    folder = tmp_path_factory.mktemp("frozen")
    torch.manual_seed(0)
    prior, first = Prior(PRIOR), ExpertF(FIRST)
    torch.nn.init.normal_(prior.decoder.leave256.weight, std=0.05)
    faces = torch.from_numpy(np.stack([draw_face(256, s) for s in (1, 2)])).permute(0, 3, 1, 2).float() / 255
    prior.train()(faces)
    files = {}
    for name, net, config in (("prior", prior, PRIOR.to_dict()), ("expert_f", first, FIRST.to_dict())):
        files[name] = str(folder / f"{name}.safetensors")
        save_weights(files[name], name, config, net.state_dict(), {})
    return files


def run(stage: str, logs: Path, frozen: dict[str, str], *more: str) -> tuple[dict[str, float], dict[str, Any]]:
    experiment = {"codes": "expert_t_codes", "fidelity": "expert_t"}[stage]
    files = [f"model.{name}={file}" for name, file in frozen.items()]
    return train(compose_train(f"experiment={experiment}", *TINY, *files, f"paths.logs={logs}", *more))


@pytest.fixture(scope="module")
def codes(tmp_path_factory: pytest.TempPathFactory, frozen: dict[str, str]) -> tuple[Path, dict[str, float], Any]:
    """The first stage: eight steps, with a checkpoint after each."""
    logs = tmp_path_factory.mktemp("codes")
    metrics, objects = run("codes", logs, frozen, *EVERY, f"+callbacks.every.dirpath={logs}/steps")
    return logs, metrics, objects


def state(file: Path) -> dict[str, Tensor]:
    return dict(torch.load(file, weights_only=False)["state_dict"])


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    """The parts of the network whose weights differ by more than rounding of the averages."""
    assert before.keys() == after.keys()
    return {n.split(".")[1] for n in before if n.startswith("net.") and not torch.allclose(before[n], after[n])}


def test_first_stage_updates_all_but_fidelity_and_frozen_networks(codes: Any, frozen: dict[str, str]) -> None:
    logs, metrics, objects = codes
    before, after = state(logs / "steps/1.ckpt"), state(logs / "steps/8.ckpt")
    assert not any("prior" in n or "expert_f" in n for n in after), "frozen networks must not be part of the state"
    updated = moved(before, after)
    assert {"content", "quality", "clean", "renderer", "move", "sureness", "scale"} <= updated
    assert not updated & {"transforms", "fidelity"}
    for name, net in zip(("prior", "expert_f"), objects["model"].frozen, strict=True):
        stored = load_network(name, frozen[name])[0].state_dict()
        assert all(torch.equal(tensor, stored[key]) for key, tensor in net.state_dict().items()), name
    curves = read_curves(logs / "expert_t_codes/csv/metrics.csv")
    parts = [n for n in curves if n.startswith("loss/")]
    assert {"loss/codes", "loss/swap_quality", "loss/l1", "loss/scale"} <= set(parts)
    np.testing.assert_allclose(curves["loss"][1], np.sum([curves[p][1] for p in parts], 0), rtol=1e-5)
    assert np.isfinite(list(metrics.values())).all()


@pytest.fixture(scope="module")
def fidelity(tmp_path_factory: pytest.TempPathFactory, codes: Any, frozen: dict[str, str]) -> Any:
    """The second stage, from the exported weights of the first."""
    logs = tmp_path_factory.mktemp("fidelity")
    first = logs / "first.safetensors"
    export(ExportOptions(ckpt=str(codes[0] / "steps/8.ckpt"), dst=str(first)))
    every = f"+callbacks.every.dirpath={logs}/steps"
    metrics, objects = run("fidelity", logs, frozen, f"init={first}", *EVERY, every)
    return logs, metrics, objects, first


def test_second_stage_starts_from_the_first_and_updates_all(fidelity: Any) -> None:
    logs, _, _, first = fidelity
    before = {f"net.{name}": t.float() for name, t in load_weights(first, "expert_t").tensors.items()}
    assert not any(".transforms." in n and ".leave." in n and t.any() for n, t in before.items()), (
        "the first stage must not"
    )
    updated = moved(before, state(logs / "steps/8.ckpt"))
    assert {"transforms", "fidelity", "content", "quality", "renderer", "move"} <= updated


def test_decoder_is_trained_on_request_and_exported_as_a_prior(
    fidelity: Any, frozen: dict[str, str], tmp_path: Path
) -> None:
    decoder = ("model.tokens.decoder=true", "model.loss.weights.keep=1", "model.loss.weights.dots=1")
    _, objects = run("fidelity", tmp_path, frozen, f"init={fidelity[3]}", *decoder, "trainer.max_epochs=1")
    before = load_network("prior", frozen["prior"])[0].state_dict()
    first = objects["model"]._first_frozen.prior.state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in first.items())
    ckpt, files = (
        tmp_path / "expert_t/checkpoints/last.ckpt",
        [tmp_path / n for n in ("t.safetensors", "p.safetensors")],
    )
    export(ExportOptions(ckpt=str(ckpt), dst=str(files[0]), prior=str(files[1])))
    after = load_network("prior", files[1])[0].state_dict()
    assert json.loads(files[1].with_suffix(".json").read_text())["sha256"] == file_hash(files[1])
    changed = {name for name, tensor in after.items() if not torch.allclose(tensor, before[name], atol=1e-6)}
    assert changed
    assert all(name.startswith("decoder.") for name in changed)
    averaged = state(ckpt)
    assert all(torch.allclose(after[name], averaged[name].half().float()) for name in changed)
    export(ExportOptions(ckpt=str(ckpt), dst=str(files[0]), prior=str(files[1]), averaged=False))
    last = load_network("prior", files[1])[0].state_dict()
    assert any(not torch.allclose(last[name], after[name]) for name in changed)
    plain = ExportOptions(ckpt=str(fidelity[0] / "steps/8.ckpt"), dst=str(files[0]), prior=str(files[1]))
    with pytest.raises(ConfigError, match="has no trained decoder"):
        export(plain)
    with pytest.raises(ConfigError, match="needs it; give another file"):
        export(ExportOptions(ckpt=str(ckpt), dst=str(files[0])))


def test_teacher_teaches_faces_of_its_recipes(fidelity: Any, frozen: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "teacher.safetensors"
    export(ExportOptions(ckpt=str(fidelity[0] / "steps/8.ckpt"), dst=str(file)))
    words = [f"init={fidelity[3]}", "model.loss.weights.keep=1", f"model.tokens.teacher={file}"]
    words += [f"model.tokens.teacher_prior={frozen['prior']}", "model.tokens.taught_recipes=[heavy,film]"]
    files = [f"model.{name}={path}" for name, path in frozen.items()]
    module = build(compose_train("experiment=expert_t", *TINY, *files, *words).model)
    x, fidelities = torch.rand(3, 3, 256, 256), torch.tensor([0.5, 0.0, 1.0])
    unknown = torch.zeros(3, 1, 256, 256, dtype=torch.bool)
    found = module._first_or_teacher(x, unknown, fidelities, ["heavy", "gfpgan", "film"])
    for i, source in enumerate((file, fidelity[3], file)):
        net = load_network("expert_t", source)[0].eval()
        expected = net(x[i : i + 1], module.frozen, Knobs(fidelities[i : i + 1]), unknown[i : i + 1]).image
        torch.testing.assert_close(found[i : i + 1], expected, atol=1e-5, rtol=0)
    without = [word for word in words if "keep" not in word]
    with pytest.raises(ConfigError, match=r"teacher: got loss\.weights keep=0"):
        build(compose_train("experiment=expert_t", *TINY, *files, *without).model)
    other = module._first_or_teacher(x[:1], unknown[:1], fidelities[:1], ["gfpgan"])
    assert not torch.allclose(other, found[:1])


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["codes", "fidelity"])
def test_resumed_stage_equals_an_uninterrupted_one(
    stage: str, request: pytest.FixtureRequest, frozen: dict[str, str], tmp_path: Path
) -> None:
    logs, metrics, *_ = request.getfixturevalue(stage)
    resumed, objects = run(stage, tmp_path, frozen, f"ckpt_path={logs}/steps/3.ckpt")
    assert objects["trainer"].global_step == 8
    assert resumed == pytest.approx(metrics, rel=1e-5)


@pytest.mark.slow
def test_temporal_consistency_leaves_out_faces_at_full_fidelity(
    fidelity: Any, frozen: dict[str, str], tmp_path: Path
) -> None:
    """Their target is the input, which flickers."""
    files = [f"model.{name}={file}" for name, file in frozen.items()]

    def losses(probability: float) -> Any:
        options = (
            *TINY, *files, f"init={fidelity[3]}", f"paths.logs={tmp_path}/{probability}", "trainer.max_epochs=1",
            "data.frame_pairs=true", "model.loss.weights.temporal_consistency=0.5",
            f"model.tokens.endpoint_probability={probability}",
        )  # fmt: skip
        train(compose_train("experiment=expert_t", *options))
        return read_curves(tmp_path / f"{probability}/expert_t/csv/metrics.csv")["loss/temporal_consistency"][1]

    some, every = losses(0.5), losses(0.0)  # at 0.5 half of the faces are at fidelity 1
    assert min(every) > 0
    assert 0 < sum(some) < sum(every)


@pytest.mark.slow
def test_mask_token_is_trained_only_with_masks(fidelity: Any, frozen: dict[str, str], tmp_path: Path) -> None:
    start = load_weights(fidelity[3], "expert_t").tensors["content.unknown"]
    for probability in (0.0, 1.0):
        options = (
            f"init={fidelity[3]}", f"data.mix.inpainting={probability}", "trainer.max_epochs=1",
            "data.swap_degradation=false", "model.optimizer.weight_decay=0",
        )  # fmt: skip
        _, objects = run("fidelity", tmp_path / str(probability), frozen, *options)
        # The average of equal numbers may differ in the last digit.
        assert torch.allclose(objects["model"].net.content.unknown, start, rtol=1e-3) == (probability == 0)


def test_codes_loss_counts_valid_cells_only(codes: Any) -> None:
    module = codes[2]["model"]
    torch.manual_seed(0)
    truth, logits = torch.rand(2, 3, 256, 256), torch.randn(2, 2, 32, 32, 16)
    out = SimpleNamespace(logits=logits)
    valid = torch.ones(2, 256, 256, dtype=torch.bool)
    half = valid.clone()
    half[:, :, :100] = False  # 12.5 of 32 columns of cells, 8 pixels wide
    module.log = lambda *_: None
    with torch.no_grad():
        target = module.frozen.prior.codebook.nearest(module.frozen.prior.encode(truth)[0]).permute(0, 3, 1, 2)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, -2), target.flatten(), reduction="none")
        loss = loss.view(target.shape)
        assert float(module._codes_loss(out, truth, valid)) == pytest.approx(float(loss.mean()), rel=1e-5)
        assert float(module._codes_loss(out, truth, half)) == pytest.approx(float(loss[..., 13:].mean()), rel=1e-5)
        assert float(module._codes_loss(out, truth, ~valid)) == 0


def test_fidelity_is_sampled_with_the_endpoint_probability(fidelity: Any, codes: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    values = fidelity[2]["model"]._sample_fidelity(20_000, generator)
    fractions = [float((values == v).float().mean()) for v in (0.0, 0.5, 1.0)]
    assert fractions == pytest.approx([0.2, 0.6, 0.2], abs=0.01)
    assert not codes[2]["model"]._sample_fidelity(100, generator).any()


@pytest.mark.parametrize(
    "wrong",
    [
        {"stage": "both"},
        {"endpoint_probability": 0.6},
        {"codes": -1.0},
        {"teacher_prior": "x.safetensors"},
        {"taught_recipes": ("heavyy",)},
    ],
    ids=str,
)
def test_bad_token_option_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"model\.tokens|heavyy"):
        TokenConfig(**wrong)


@pytest.mark.slow
def test_published_size_builds_and_takes_a_step(frozen: dict[str, str], tmp_path: Path) -> None:
    """One step of two faces at the paper's size, with a prior of its size."""
    size = PriorConfig(code_width=256, heads=1, widths=(512, 256, 128, 64), encoder=(2, 2, 4), decoder=(6, 2, 2))
    prior = Prior(size).train()
    with torch.no_grad():
        prior.codebook(torch.randn(2, 256, 32, 32))  # starts the codes
    save_weights(tmp_path / "prior.safetensors", "prior", size.to_dict(), prior.state_dict(), {})
    del prior
    cfg = compose_train(
        "experiment=expert_t_published", "data=synthetic_faces", "logger=csv", "data.batch_size=2",
        "data.train_faces=2",
        "data.val_faces=1", "data.epoch_images=2", "trainer=cpu", "trainer.accelerator=cpu", "trainer.devices=1",
        "trainer.max_steps=1", "trainer.precision=32-true", "callbacks.best=null", "callbacks.at_end=null",
        "callbacks.panel=null", "model.loss.weights.lpips=0", "trainer.limit_val_batches=0",
        "trainer.log_every_n_steps=1", f"model.prior={tmp_path}/prior.safetensors",
        f"model.expert_f={frozen['expert_f']}", f"paths.logs={tmp_path}",
    )  # fmt: skip
    metrics, objects = train(cfg)
    weights = sum(p.numel() for p in objects["model"].net.parameters())
    assert 2e7 < weights < 1e8
    assert objects["trainer"].global_step == 1
    assert np.isfinite(metrics["loss"])
