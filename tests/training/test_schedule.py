"""Progress by steps, epochs and wall-clock time, and the learning rate."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Timer

from likeness.training.schedule import CosineSchedule, cosine, progress


class Clock(Timer):
    """A timer that has been running for `elapsed` seconds."""

    def __init__(self, duration: float | None, elapsed: float) -> None:
        super().__init__(duration=None)
        self._duration, self.elapsed = duration, elapsed

    def time_elapsed(self, stage: Any = None) -> float:
        return self.elapsed


def trainer(
    step: int = 0, steps: int = -1, epochs: int = -1, batches: int = 10, timer: tuple[float | None, float] | None = None
) -> Any:
    return SimpleNamespace(
        global_step=step,
        max_steps=steps,
        max_epochs=epochs,
        num_training_batches=batches,
        callbacks=[Clock(*timer)] if timer else [],
        optimizers=[],
    )


PROGRESS = {
    "no limit": (trainer(step=500), 0.0),
    "steps": (trainer(step=25, steps=100), 0.25),
    "steps and epochs: steps": (trainer(step=25, steps=100, epochs=1), 0.25),
    "epochs": (trainer(step=25, epochs=5), 0.5),
    "time": (trainer(timer=(3600.0, 900.0)), 0.25),
    "steps and time: time is further": (trainer(step=10, steps=100, timer=(100.0, 60.0)), 0.6),
    "steps and time: steps are further": (trainer(step=90, steps=100, timer=(100.0, 60.0)), 0.9),
    "a timer without a limit": (trainer(step=1, steps=10, timer=(None, 60.0)), 0.1),
    "at most one": (trainer(step=11, steps=10), 1.0),
}


@pytest.mark.parametrize("name", PROGRESS)
def test_progress_is_the_larger_fraction(name: str) -> None:
    trainer_, expected = PROGRESS[name]
    assert progress(trainer_) == pytest.approx(expected)


COSINE = {0: 1.0, 1 / 3: 0.75, 0.5: 0.5, 2 / 3: 0.25, 1: 0.0, 1.5: 0.0, -0.1: 1.0}


@pytest.mark.parametrize("at", COSINE)
def test_cosine_falls_from_one_to_zero(at: float) -> None:
    assert cosine(at) == pytest.approx(COSINE[at], abs=1e-12)


def rates(schedule: CosineSchedule, trainer_: Any, steps: range) -> list[tuple[float, ...]]:
    module = SimpleNamespace(log=lambda name, value: None)
    learning_rates = []
    for step in steps:
        trainer_.global_step = step
        schedule.on_train_batch_start(trainer_, module, None, 0)  # type: ignore[arg-type]
        learning_rates.append(tuple(g["lr"] for g in trainer_.optimizers[0].param_groups))
    return learning_rates


def groups() -> torch.optim.Optimizer:
    a, b = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    return torch.optim.SGD([{"params": [a], "lr": 0.8}, {"params": [b], "lr": 0.2}])


def test_learning_rate_of_every_group_warms_up_then_follows_the_cosine() -> None:
    run = trainer(steps=100)
    run.optimizers = [groups()]
    for step, (first, second) in enumerate(rates(CosineSchedule(warmup=4), run, range(100))):
        expected = min(1, (step + 1) / 4) * cosine(step / 100)
        assert first == pytest.approx(0.8 * expected)
        assert second == pytest.approx(0.2 * expected)


def test_resumed_optimiser_keeps_its_base_learning_rate() -> None:
    run = trainer(steps=100)
    run.optimizers = [groups()]
    straight = rates(CosineSchedule(warmup=4), run, range(60))
    resumed = trainer(steps=100)
    resumed.optimizers = [groups()]
    stopped = trainer(steps=100)
    stopped.optimizers = [groups()]
    rates(CosineSchedule(warmup=4), stopped, range(30))
    resumed.optimizers[0].load_state_dict(stopped.optimizers[0].state_dict())
    np.testing.assert_allclose(rates(CosineSchedule(warmup=4), resumed, range(30, 60)), straight[30:])
