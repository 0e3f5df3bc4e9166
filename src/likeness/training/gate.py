"""LightningModule of the gate, which chooses between the experts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from likeness.nets.gate import Gate, fit_temperature, outcomes
from likeness.training.base import OptimizerFactory


class GateModule(L.LightningModule):
    """Learns by cross-entropy which choice costs less; validated by the cost of its choices.

    Args:
        net: the gate.
        optimizer: builds the optimiser from parameters.
    """

    def __init__(self, net: Gate, optimizer: OptimizerFactory) -> None:
        super().__init__()
        self.net, self.optimizer_factory = net, optimizer
        self.network, self.net_config = "gate", net.config

    def configure_optimizers(self) -> Optimizer:
        """The optimiser."""
        return self.optimizer_factory(self.net.parameters())

    def on_fit_start(self) -> None:
        """Fits the scale of the features to the training samples."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        self.net.fit_scale(torch.from_numpy(data.train.features).float())

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        """One step."""
        features, costs = batch
        loss = F.binary_cross_entropy_with_logits(self.net(features), outcomes(costs))
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """Fits the temperatures; logs the costs of the choices, of each alone and of the best one."""
        features, costs = batch
        logits, better = self.net(features).float(), outcomes(costs)
        for i in range(2):
            self.net.temperature[i] = _temperature(logits[:, i].detach(), better[:, i])
        scaled = logits / self.net.temperature
        chosen = torch.where(scaled[:, 0] > 0, costs[:, 0], costs[:, 1])
        chosen = torch.where(scaled[:, 1] > 0, costs[:, 2], chosen)
        self.log_dict(
            {
                "val/cost": chosen.mean(),
                "val/cost_t": costs[:, 0].mean(),
                "val/cost_f": costs[:, 1].mean(),
                "val/cost_left": costs[:, 2].mean(),
                "val/cost_oracle": costs.min(1).values.mean(),
                "val/accuracy": ((scaled[:, 0] > 0) == better[:, 0].bool()).float().mean(),
                "val/accuracy_leave": ((scaled[:, 1] > 0) == better[:, 1].bool()).float().mean(),
                "val/cross_entropy": F.binary_cross_entropy_with_logits(scaled, better),
                "val/temperature": self.net.temperature[0],
                "val/temperature_leave": self.net.temperature[1],
            }
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what an export needs."""
        checkpoint["network"], checkpoint["net_config"] = self.network, self.net_config.to_dict()
        metrics = self.trainer.callback_metrics.items()
        checkpoint["metrics"] = {name: float(value) for name, value in metrics if name.startswith("val/")}


def _temperature(logits: Tensor, better: Tensor) -> float:
    with torch.inference_mode(False), torch.enable_grad():
        return fit_temperature(logits.clone(), better.clone())
