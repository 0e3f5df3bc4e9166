"""LightningModule of Expert-F and of the baseline SRNet, which are trained by the loss of the restored face alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from likeness.nets.expert_f import INPUT_SIZE, ExpertF
from likeness.nets.srnet import SRNet
from likeness.ops.tensors import to_float_tensor
from likeness.training.base import FaceModule, valid_at_512
from likeness.training.losses.restoration import RestorationLoss


class ExpertFModule(FaceModule):
    """Trains Expert-F or SRNet.

    Args:
        net: the network.
        loss: the weighted loss of a restored face.
        options: fields of `TrainingConfig`.
    """

    def __init__(self, net: ExpertF | SRNet, loss: RestorationLoss, **options: Any) -> None:
        super().__init__(net, "srnet" if isinstance(net, SRNet) else "expert_f", loss, **options)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 256, 256) in [0, 1] to (B, 3, 512, 512)."""
        image: Tensor = self.net(x).image
        return image

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """One step; logs every loss."""
        x, truth, sharp = to_float_tensor(batch["input"]), to_float_tensor(batch["truth"]), batch["sharp"]
        valid, generator, progress = valid_at_512(batch["valid"]), self.step_generator(), self.shared_progress()
        # The injected noise is shifted in every step, so that the network cannot learn its positions.
        shift = (_random_shift(generator),) if isinstance(self.net, ExpertF) else ()
        out = self.net(x, *shift)
        other_losses = self.temporal_consistency(batch, out.image, lambda frame: self.net(frame, *shift).image)
        other_losses |= self.first_picture(
            (x,), out.image, lambda moved: self._first[0](moved, *shift).image, generator
        )
        other_losses |= self.dots(batch, out.image, truth, sharp, valid)
        if out.log_scale is not None and self.loss.weights.scale:
            other_losses["scale"] = self.loss.scale(out.log_scale, out.image, truth, valid)
        self.take_step(
            out.image,
            truth,
            sharp,
            valid,
            progress,
            lambda image: self.loss(image, truth, sharp, progress, generator),
            other_losses,
        )


def _random_shift(generator: torch.Generator) -> tuple[int, int]:
    y, x = torch.randint(INPUT_SIZE, (2,), generator=generator).tolist()
    return y, x
