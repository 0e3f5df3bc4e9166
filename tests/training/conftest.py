"""A tiny network, trained once on cartoon faces, whose results many tests check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from likeness.training.run import train

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SMOKE = (
    "experiment=smoke",
    "model.loss.weights.identity=0",
    "data.train_faces=2",
    "data.val_faces=1",
    "threads=1",
)
QUICK = (*SMOKE, "callbacks.curves=null")  # seconds a run for a figure that one run draws for all
Compose = Callable[..., DictConfig]


def compose_train(*overrides: str, entry: str = "train") -> DictConfig:
    """A config, composed as on the command line."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose(entry, list(overrides))


@pytest.fixture
def composed() -> Compose:
    return compose_train


@pytest.fixture
def quick(tmp_path: Path) -> Compose:
    """Composes the quick smoke run, with logs in the test's folder."""

    def make(*overrides: str) -> DictConfig:
        return compose_train(*QUICK, f"paths.logs={tmp_path}", *overrides)

    return make


@dataclass
class Run:
    """A finished training of two epochs of four steps.

    Attributes:
        metrics: the last logged ones.
        objects: trainer, model and data.
        folder: of its files.
        steps: its checkpoint after each step, 1 to 8.
    """

    metrics: dict[str, float]
    objects: dict[str, Any]
    folder: Path
    steps: dict[int, Path]


@pytest.fixture(scope="session")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Trained without interruption, with a checkpoint after every step."""
    logs = tmp_path_factory.mktemp("logs")
    every = "+callbacks.every"
    cfg = compose_train(
        *SMOKE,
        f"paths.logs={logs}",
        f"{every}._target_=lightning.pytorch.callbacks.ModelCheckpoint",
        f"{every}.every_n_train_steps=1",
        f"{every}.save_top_k=-1",
        f"{every}.auto_insert_metric_name=false",
        f"{every}.filename='{{step}}'",
        f"{every}.dirpath={logs}/steps",
    )
    metrics, objects = train(cfg)
    return Run(metrics, objects, logs / "smoke", {int(f.stem): f for f in (logs / "steps").iterdir()})
