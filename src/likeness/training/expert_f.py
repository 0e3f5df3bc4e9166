"""LightningModule of Expert-F, and of the plain baseline: networks whose loss alone decides what they learn."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from likeness.nets.expert_f import ExpertF
from likeness.nets.srnet import SRNet
from likeness.training.base import FaceModule, OptimizerFactory, as_tensor
from likeness.training.losses.restoration import RestorationLoss
from likeness.training.schedule import progress


class ExpertFModule(FaceModule):
    """Trains Expert-F or SRNet; the EMA callback's weights are the ones validated and exported.

    Args:
        net: the network.
        loss: the weighted loss.
        optimizer: builds the optimiser from parameters.
        init: a released weight file to start from.
        seed: of the random windows and views in the loss.
    """

    def __init__(
        self,
        net: ExpertF | SRNet,
        loss: RestorationLoss,
        optimizer: OptimizerFactory,
        init: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(net, "srnet" if isinstance(net, SRNet) else "expert_f", net.config, loss, init, seed)
        self.optimizer_factory = optimizer

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 256, 256) in [0, 1] to (B, 3, 512, 512)."""
        image: Tensor = self.net(x).image
        return image

    def configure_optimizers(self) -> Optimizer:
        """The optimiser alone; `CosineSchedule` sets its rate."""
        return self.optimizer_factory(self.parameters())

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """One step; logs every part of the loss."""
        x, truth = as_tensor(batch["input"]), as_tensor(batch["truth"])
        out = self.net(x)
        parts = self.loss(out.image, truth, batch["sharp"], out.log_scale, progress(self.trainer), self.draws())
        parts |= self.steady(batch, out.image, self)
        return self.total(parts, len(x))
