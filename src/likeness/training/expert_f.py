"""LightningModule of Expert-F, and of the plain baseline: networks whose loss alone decides what they learn."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from likeness.nets.expert_f import INPUT_SIZE, ExpertF
from likeness.nets.srnet import SRNet
from likeness.training.base import FaceModule, OptimizerFactory, as_tensor, valid_at_512
from likeness.training.gan import GanConfig
from likeness.training.losses.restoration import RestorationLoss


class ExpertFModule(FaceModule):
    """Trains Expert-F or SRNet; the EMA callback's weights are the ones validated and exported.

    Args:
        net: the network.
        loss: the weighted loss.
        optimizer: builds the optimiser from parameters.
        init: a released weight file to start from.
        seed: of the random windows and views in the losses.
        gan, discriminator_optimizer, clip: see `FaceModule`.
    """

    def __init__(
        self,
        net: ExpertF | SRNet,
        loss: RestorationLoss,
        optimizer: OptimizerFactory,
        init: str | None = None,
        seed: int = 0,
        gan: GanConfig | None = None,
        discriminator_optimizer: OptimizerFactory | None = None,
        clip: float = 1.0,
    ) -> None:
        name = "srnet" if isinstance(net, SRNet) else "expert_f"
        super().__init__(net, name, net.config, loss, optimizer, init, seed, gan, discriminator_optimizer, clip=clip)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 256, 256) in [0, 1] to (B, 3, 512, 512)."""
        image: Tensor = self.net(x).image
        return image

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """One step; logs every part of the loss."""
        x, truth, sharp = as_tensor(batch["input"]), as_tensor(batch["truth"]), batch["sharp"]
        valid, draws, share = valid_at_512(batch["valid"]), self.draws(), self.share()
        # Noise that moves from step to step, or the network would learn what lies where in it.
        moved = (_shift(draws),) if isinstance(self.net, ExpertF) else ()
        out = self.net(x, *moved)
        others = self.steady(batch, out.image, lambda frame: self.net(frame, *moved).image)
        if out.log_scale is not None and self.loss.weights.scale:
            others["scale"] = self.loss.scale(out.log_scale, out.image, truth, valid)
        self.descend(
            out.image, truth, sharp, valid, share, lambda image: self.loss(image, truth, sharp, share, draws), others
        )


def _shift(generator: torch.Generator) -> tuple[int, int]:
    y, x = torch.randint(INPUT_SIZE, (2,), generator=generator).tolist()
    return y, x
