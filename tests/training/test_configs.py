"""Every config composes, and the objects that this machine supports can be built."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

from likeness.data.modules import CartoonDataConfig, CartoonDataModule, FaceDataConfig
from likeness.data.pairs import MixConfig
from likeness.nets.expert_f import ExpertFConfig
from likeness.training.expert_f import ExpertFModule
from likeness.training.gate_data import GateDataConfig
from likeness.training.losses.restoration import LossWeights
from likeness.training.muon import Muon
from likeness.training.run import build

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
TRAIN_GROUPS = ("callbacks", "data", "debug", "experiment", "logger", "model", "paths", "trainer")
OPTIMIZERS = {"muon": (Muon, 1.5e-3), "adamw": (torch.optim.AdamW, 6e-4)}
CHOICES = sorted(f"{f.parent.name}={f.stem}" for g in TRAIN_GROUPS for f in (CONFIGS / g).glob("*.yaml"))
QUIET = ("model.loss.weights.lpips=0", "model.loss.weights.identity=0")


def test_config_groups_are_found() -> None:
    assert {"experiment=smoke", "debug=overfit", "trainer=ddp", "model=expert_f"} <= set(CHOICES)


@pytest.mark.parametrize("choice", CHOICES)
def test_every_config_composes_and_resolves(choice: str, composed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIKENESS_DATA", raising=False)
    cfg = composed(choice)
    cfg._set_flag("allow_objects", True)
    resolved = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    assert "None/" not in str(resolved), "an unset variable is part of a path"


@pytest.mark.parametrize("debug", ["default", "fdr", "limit", "overfit", "profiler"])
@pytest.mark.parametrize("experiment", ["smoke", "expert_f", "vq_prior"])
def test_debug_configs_combine_with_experiments(debug: str, experiment: str, composed: Any) -> None:
    cfg = composed(f"experiment={experiment}", f"debug={debug}")
    if debug != "fdr":
        assert cfg.trainer.max_time is None, "a debug run must end by its own limit"
        assert cfg.trainer.max_epochs > 0
    if debug in ("default", "overfit"):
        assert set(cfg.logger) == {"csv"}
        assert cfg.data.workers == 0


TRAINERS = sorted(f.stem for f in (CONFIGS / "trainer").glob("*.yaml"))


@pytest.mark.parametrize("name", TRAINERS)
def test_trainers_are_built(name: str, composed: Any, tmp_path: Path) -> None:
    """Without a GPU the same trainer is built on the CPU, which checks all other options."""
    cfg = composed(f"trainer={name}", "trainer.accelerator=cpu", f"paths.logs={tmp_path}")
    trainer = build(cfg.trainer, logger=False)
    assert isinstance(trainer, L.Trainer)
    assert trainer.world_size == (2 if name == "ddp" else 1)


PRECISIONS = {
    "a CPU with bf16": ("cpu", True, False, "bf16-mixed"),
    "a CPU without bf16": ("cpu", False, False, "32-true"),
    "a GPU with such a CPU": ("gpu", False, True, "bf16-mixed"),
    "auto without a GPU": ("auto", False, False, "32-true"),
    "auto with a GPU": ("auto", False, True, "bf16-mixed"),
}


@pytest.mark.parametrize("name", PRECISIONS)
def test_precision_is_bf16_where_the_hardware_has_it(name: str, composed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    accelerator, has_bf16, gpu, expected = PRECISIONS[name]
    monkeypatch.setattr("likeness.training.schema.cpu_has_bf16", lambda: has_bf16)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert composed(f"trainer.accelerator={accelerator}").trainer.precision == expected


def test_ddp_does_not_replace_our_sampler(composed: Any) -> None:
    """Our sampler divides the samples among processes; Lightning's would repeat them every epoch."""
    assert composed("trainer=ddp").trainer.use_distributed_sampler is False


def test_model_and_data_have_the_defaults_of_the_dataclasses(composed: Any, tmp_path: Path) -> None:
    cfg = composed("data=synthetic_faces", *QUIET, f"paths.logs={tmp_path}", "seed=11")
    model, data = build(cfg.model), build(cfg.data)
    assert isinstance(model, ExpertFModule)
    assert isinstance(data, CartoonDataModule)
    size = {k: tuple(v) if isinstance(v, list) else v for k, v in model.net.config.to_dict().items()}
    assert ExpertFConfig(**size) == ExpertFConfig()
    assert asdict(model.loss.weights) == {**asdict(LossWeights()), "lpips": 0, "identity": 0}
    assert data.mix == MixConfig()
    assert model.seed == data.config.seed == 11


def test_every_optimizer_is_tested() -> None:
    assert set(OPTIMIZERS) == {f.stem for f in (CONFIGS / "optimizer").glob("*.yaml")}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_updates_all_weights(name: str, composed: Any, tmp_path: Path) -> None:
    cfg = composed("experiment=smoke", *QUIET, f"paths.logs={tmp_path}", f"optimizer@model.optimizer={name}")
    model = build(cfg.model)
    model.trainer = build(cfg.trainer, logger=False)
    (optimizer,) = model.configure_optimizers()
    kind, rate = OPTIMIZERS[name]
    assert type(optimizer) is kind
    assert optimizer.defaults["lr"] == rate
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in model.net.parameters()}
    before = [p.detach().clone() for p in model.net.parameters()]
    sum(p.square().sum() for p in model.net.parameters()).backward()
    optimizer.step()
    moved = [bool((p != q).any()) for p, q in zip(model.net.parameters(), before, strict=True) if q.any()]
    assert all(moved)


DATA = {"data=faces": FaceDataConfig, "data=synthetic_faces": CartoonDataConfig, "data=gate": GateDataConfig}


@pytest.mark.parametrize("choice", DATA)
def test_data_config_has_every_option_with_its_default(choice: str, composed: Any) -> None:
    defaults = asdict(DATA[choice]())
    data = OmegaConf.to_container(composed(choice).data, resolve=True)
    assert isinstance(data, dict)
    assert set(data) - {"_target_", "_convert_", "mix"} == {f.name for f in fields(DATA[choice])}
    set_in_yaml = {"root", "cache", "seed"} | ({"soft_truth", "wide"} if choice == "data=gate" else set())
    for name in set(defaults) - set_in_yaml:
        default = list(defaults[name]) if isinstance(defaults[name], tuple) else defaults[name]
        assert data[name] == default, name


def test_callbacks_have_different_state_keys(composed: Any, tmp_path: Path) -> None:
    cfg = composed(f"paths.logs={tmp_path}")
    callbacks = [build(c) for c in cfg.callbacks.values()]
    keys = [c.state_key for c in callbacks]
    assert len(set(keys)) == len(keys), "two callbacks would overwrite each other's state in a checkpoint"


MISSPELT = [
    "model.net.config.width=[8]",
    "data.mix.soft_trut=0.1",
    "data.bach_size=4",
    "trainer.max_epoch=3",
    "seeed=1",
    "model.loss.weights.l2=1",
]


@pytest.mark.parametrize("override", MISSPELT)
def test_misspelt_keys_fail_at_composition(override: str, composed: Any) -> None:
    with pytest.raises(ConfigCompositionException):
        composed(override)


def test_paths_follow_the_environment(composed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKENESS_DATA", "/some/data")
    monkeypatch.setenv("LIKENESS_LOGS", "/some/logs")
    cfg = composed("name=x")
    assert cfg.data.root == "/some/data/faces"
    assert cfg.trainer.default_root_dir == "/some/logs/x"
    assert cfg.data.cache == "/some/logs/cache"
