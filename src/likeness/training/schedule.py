"""Progress of a run by steps or wall-clock time, and the learning rate that follows it."""

from __future__ import annotations

import math

import lightning as L
from lightning.pytorch.callbacks import Callback, Timer
from torch.optim import Optimizer


def progress(trainer: L.Trainer) -> float:
    """Fraction of the training that is done, 0..1: the larger of steps / max_steps and time / max_time.

    Checkpoints of Lightning contain both the step and the timer, so a resumed run continues at its progress.
    """
    fractions = [0.0]
    if trainer.max_steps and trainer.max_steps > 0:
        fractions.append(trainer.global_step / trainer.max_steps)
    elif trainer.max_epochs and trainer.max_epochs > 0:
        total = trainer.max_epochs * max(1, int(trainer.num_training_batches))
        fractions.append(trainer.global_step / total)
    timers = [c for c in trainer.callbacks if isinstance(c, Timer)]  # type: ignore[attr-defined]
    fractions += [timer.time_elapsed() / timer._duration for timer in timers if timer._duration]
    return min(1.0, max(fractions))


def cosine(progress: float) -> float:
    """1 at the start, 0 at the end (SGDR, Loshchilov & Hutter 2017, without restarts)."""
    return 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, progress))))


class CosineSchedule(Callback):
    """Learning rate: a linear warm-up over `warmup` steps, times a cosine to zero over the run's progress."""

    def __init__(self, warmup: int = 100) -> None:
        self.warmup = warmup

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Sets the learning rate of every parameter group."""
        ramp = min(1.0, (trainer.global_step + 1) / max(1, self.warmup))
        factor = ramp * cosine(progress(trainer))
        for optimizer in trainer.optimizers:
            self._scale(optimizer, factor)
        pl_module.log("lr", trainer.optimizers[0].param_groups[0]["lr"])

    def _scale(self, optimizer: Optimizer, factor: float) -> None:
        for group in optimizer.param_groups:
            group.setdefault("base_lr", group["lr"])
            group["lr"] = group["base_lr"] * factor
