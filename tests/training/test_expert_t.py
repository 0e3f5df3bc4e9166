"""Training Expert-T: what each stage moves, what stays, what an exchange asks for."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from likeness.data.drawn import draw_face
from likeness.data.faces import resize_face
from likeness.data.recipes import Drawn, apply
from likeness.data.restoration import Collate, DrawnSource, MixConfig, TrainingPairs
from likeness.errors import ConfigError
from likeness.nets.expert_f import ExpertF
from likeness.nets.prior import Prior, PriorConfig
from likeness.tasks.export import ExportOptions, export
from likeness.training.callbacks import read_curves
from likeness.training.expert_t import TokenConfig
from likeness.training.run import train
from likeness.weights.files import load_weights, save_weights
from likeness.weights.networks import load_network
from tests.tiny import FIRST, PRIOR

from .conftest import compose_train

SIZE = "model.net.config."
TINY = (
    "data=drawn",
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
    """The first stage, eight steps, a checkpoint after each."""
    logs = tmp_path_factory.mktemp("codes")
    metrics, objects = run("codes", logs, frozen, *EVERY, f"+callbacks.every.dirpath={logs}/steps")
    return logs, metrics, objects


def state(file: Path) -> dict[str, Tensor]:
    return dict(torch.load(file, weights_only=False)["state_dict"])


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    """The parts of the network whose weights differ, by more than an average of equal numbers may."""
    assert before.keys() == after.keys()
    return {n.split(".")[1] for n in before if n.startswith("net.") and not torch.allclose(before[n], after[n])}


def test_the_first_stage_moves_all_but_fidelity_and_nothing_frozen(codes: Any, frozen: dict[str, str]) -> None:
    logs, metrics, objects = codes
    before, after = state(logs / "steps/1.ckpt"), state(logs / "steps/8.ckpt")
    assert not any("prior" in n or "expert_f" in n for n in after), "frozen networks are no part of the state"
    found = moved(before, after)
    assert {"content", "quality", "clean", "renderer", "move", "sureness", "scale"} <= found
    assert not found & {"transforms", "fidelity"}
    for name, net in zip(("prior", "expert_f"), objects["model"].frozen, strict=True):
        stored = load_network(name, frozen[name])[0].state_dict()
        assert all(torch.equal(tensor, stored[key]) for key, tensor in net.state_dict().items()), name
    curves = read_curves(logs / "expert_t_codes/csv/metrics.csv")
    parts = [n for n in curves if n.startswith("loss/")]
    assert {"loss/codes", "loss/exchange", "loss/l1", "loss/scale"} <= set(parts)
    np.testing.assert_allclose(curves["loss"][1], np.sum([curves[p][1] for p in parts], 0), rtol=1e-5)
    assert np.isfinite(list(metrics.values())).all()


@pytest.fixture(scope="module")
def fidelity(tmp_path_factory: pytest.TempPathFactory, codes: Any, frozen: dict[str, str]) -> Any:
    """The second stage, from the first one's exported weights."""
    logs = tmp_path_factory.mktemp("fidelity")
    first = logs / "first.safetensors"
    export(ExportOptions(ckpt=str(codes[0] / "steps/8.ckpt"), dst=str(first)))
    every = f"+callbacks.every.dirpath={logs}/steps"
    metrics, objects = run("fidelity", logs, frozen, f"init={first}", *EVERY, every)
    return logs, metrics, objects, first


def test_the_second_stage_starts_from_the_first_and_moves_all(fidelity: Any) -> None:
    logs, _, _, first = fidelity
    before = {f"net.{name}": t.float() for name, t in load_weights(first, "expert_t").tensors.items()}
    assert not any(".transforms." in n and ".leave." in n and t.any() for n, t in before.items()), "changes nothing yet"
    found = moved(before, state(logs / "steps/8.ckpt"))
    assert {"transforms", "fidelity", "content", "quality", "renderer", "move"} <= found


@pytest.mark.parametrize("stage", ["codes", "fidelity"])
def test_a_resumed_stage_ends_as_if_it_had_not_stopped(
    stage: str, request: pytest.FixtureRequest, frozen: dict[str, str], tmp_path: Path
) -> None:
    logs, metrics, *_ = request.getfixturevalue(stage)
    found, objects = run(stage, tmp_path, frozen, f"ckpt_path={logs}/steps/3.ckpt")
    assert objects["trainer"].global_step == 8
    assert found == pytest.approx(metrics, rel=1e-5)


def test_exchanged_holds_each_truth_as_poor_as_the_next_input() -> None:
    mix = MixConfig(recipes={"gfpgan": 0.5, "mild": 0.5}, codec=0, soft=0, unknown=0)
    pairs = TrainingPairs(DrawnSource(3), mix, None, 5, 4)
    samples = [pairs[i] for i in range(3)]
    for sample in samples:
        sample["drawn"]["noise"] = 0.0  # what is left is fixed
    kept = deepcopy(samples)
    batch = Collate(exchange=True)(samples)
    for i, sample in enumerate(samples):
        drawn = Drawn(**samples[(i + 1) % 3]["drawn"])
        expected = apply(resize_face(sample["truth"].numpy(), 256), drawn, np.random.default_rng(0))
        np.testing.assert_array_equal(batch["exchanged"][i], expected)
        for name in ("truth", "input", "sharp"):
            assert torch.equal(batch[name][i], kept[i][name])
            assert torch.equal(sample[name], kept[i][name])


def test_the_noise_of_an_exchange_is_the_same_each_time() -> None:
    pairs = TrainingPairs(DrawnSource(2), MixConfig(recipes={"gfpgan": 1.0}), None, 5, 4)
    samples = [pairs[0], pairs[1]]
    collate = Collate(exchange=True)
    first, again, turned = collate(samples), collate(samples), collate(samples[::-1])
    assert torch.equal(first["exchanged"], again["exchanged"])
    assert torch.equal(first["exchanged"], turned["exchanged"].flip(0))  # with two, each is the other's next


def test_the_stage_for_clips_asks_faces_to_hold_still(fidelity: Any, frozen: dict[str, str], tmp_path: Path) -> None:
    """All but those that are asked to be the input, which flickers."""
    files = [f"model.{name}={file}" for name, file in frozen.items()]

    def steady(ends: float) -> Any:
        words = [
            *TINY,
            *files,
            f"init={fidelity[3]}",
            f"paths.logs={tmp_path}/{ends}",
            "trainer.max_epochs=1",
            "data.neighbours=true",
        ]
        words += ["data.neighbours=true", "model.loss.weights.steady=0.5"]
        train(compose_train("experiment=expert_t", *words, f"model.tokens.ends={ends}"))
        return read_curves(tmp_path / f"{ends}" / "expert_t/csv/metrics.csv")["loss/steady"][1]

    some, all_of_them = steady(0.5), steady(0.0)  # at .5 every face is at an end
    assert min(all_of_them) > 0
    assert 0 < sum(some) < sum(all_of_them)


def test_unknown_pixels_reach_the_network(fidelity: Any, frozen: dict[str, str], tmp_path: Path) -> None:
    """Only a mask gives its token a gradient: with masks it moves, without it stays as it started."""
    start = load_weights(fidelity[3], "expert_t").tensors["content.unknown"]
    for share in (0.0, 1.0):
        words = (f"init={fidelity[3]}", f"data.mix.unknown={share}", "trainer.max_epochs=1", "data.exchange=false")
        _, objects = run("fidelity", tmp_path / str(share), frozen, *words, "model.optimizer.weight_decay=0")
        # The average of equal numbers may differ in the last digit.
        assert torch.allclose(objects["model"].net.content.unknown, start, rtol=1e-3) == (share == 0)


def test_codes_count_only_where_the_face_is_a_truth(codes: Any) -> None:
    module = codes[2]["model"]
    torch.manual_seed(0)
    truth, logits = torch.rand(2, 3, 256, 256), torch.randn(2, 2, 32, 32, 16)
    out = SimpleNamespace(logits=logits)
    valid = torch.ones(2, 256, 256, dtype=torch.bool)
    half = valid.clone()
    half[:, :, :100] = False  # cells of 8 pixels: 12 and a half of 32 columns
    module.log = lambda *_: None
    with torch.no_grad():
        wanted = module.frozen.prior.codebook.nearest(module.frozen.prior.encode(truth)[0]).permute(0, 3, 1, 2)
        lost = torch.nn.functional.cross_entropy(logits.flatten(0, -2), wanted.flatten(), reduction="none")
        lost = lost.view(wanted.shape)
        assert float(module._codes(out, truth, valid)) == pytest.approx(float(lost.mean()), rel=1e-5)
        assert float(module._codes(out, truth, half)) == pytest.approx(float(lost[..., 13:].mean()), rel=1e-5)
        assert float(module._codes(out, truth, ~valid)) == 0


def test_the_ends_of_the_knob_are_drawn_as_often_as_asked(fidelity: Any, codes: Any) -> None:
    draws = torch.Generator().manual_seed(0)
    found = fidelity[2]["model"]._fidelity(20_000, draws)
    shares = [float((found == v).float().mean()) for v in (0.0, 0.5, 1.0)]
    assert shares == pytest.approx([0.2, 0.6, 0.2], abs=0.01)
    assert not codes[2]["model"]._fidelity(100, draws).any()


@pytest.mark.parametrize("wrong", [{"stage": "both"}, {"ends": 0.6}, {"codes": -1.0}], ids=str)
def test_impossible_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"model\.tokens"):
        TokenConfig(**wrong)


def test_published_size_builds_and_takes_a_step(frozen: dict[str, str], tmp_path: Path) -> None:
    """The papers' width on the CPU: one step of two faces over a prior of that width."""
    size = PriorConfig(code_width=256, heads=1, widths=(512, 256, 128, 64), encoder=(2, 2, 4), decoder=(6, 2, 2))
    prior = Prior(size).train()
    with torch.no_grad():
        prior.codebook(torch.randn(2, 256, 32, 32))  # starts the codes
    save_weights(tmp_path / "prior.safetensors", "prior", size.to_dict(), prior.state_dict(), {})
    del prior
    cfg = compose_train(
        "experiment=expert_t_published", "data=drawn", "logger=csv", "data.batch_size=2", "data.train_faces=2",
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
