"""LightningModule of the network that marks obstructions."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from likeness.nets.obstructions import CLASSES, ObstructionNet
from likeness.ops.tensors import to_float_tensor
from likeness.training.base import OptimizerFactory
from likeness.weights.files import load_into, load_weights


class ObstructionModule(L.LightningModule):
    """Learns a class for each pixel, by cross-entropy and by the overlap (Dice) of each class.

    Args:
        net: the network.
        optimizer: builds the optimiser from parameters.
        init: weight file to start from; None = newly initialised weights.
        weights: of the cross-entropy, one for each of `CLASSES`.
    """

    weights: Tensor

    def __init__(
        self,
        net: ObstructionNet,
        optimizer: OptimizerFactory,
        init: str | None = None,
        weights: tuple[float, ...] = (1, 1, 1, 2, 1.5, 2, 2),
    ) -> None:
        super().__init__()
        if init:
            load_into(net, load_weights(init, "obstructions"), init)
        self.net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer_factory = optimizer
        self.network, self.net_config, self.images_seen = "obstructions", net.config, 0
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float32), persistent=False)
        self._counts = torch.zeros(3, len(CLASSES))

    def configure_optimizers(self) -> Optimizer:
        """The optimiser."""
        return self.optimizer_factory(self.net.parameters())

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """One step."""
        scores = self.net(to_float_tensor(batch["input"])).float()
        losses = segmentation_losses(scores, batch["labels"], batch["valid"], self.weights)
        loss = torch.stack(list(losses.values())).sum()
        self.images_seen += len(scores) * self.trainer.world_size
        self.log("loss", loss, prog_bar=True)
        self.log_dict({f"loss/{name}": value.detach() for name, value in losses.items()})
        self.log("images", float(self.images_seen))
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Counts the pixels of each class: marked rightly, marked, and there."""
        found = self.net(to_float_tensor(batch["input"])).argmax(1)[batch["valid"]]
        true = batch["labels"][batch["valid"]]
        counts = [torch.bincount(values, minlength=len(CLASSES)) for values in (true[found == true], found, true)]
        self._counts += torch.stack(counts).cpu()

    def on_validation_epoch_end(self) -> None:
        """Logs F1 of each class, and `val/cost`, 1 less their mean without "none"."""
        right, marked, there = self._counts
        self._counts = torch.zeros_like(self._counts)
        f1 = 2 * right / (marked + there).clamp(min=1)
        self.log_dict({f"val/f1_{name}": value for name, value in zip(CLASSES, f1, strict=True)})
        self.log("val/cost", 1 - f1[1:].mean(), prog_bar=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what an export needs."""
        checkpoint["network"], checkpoint["net_config"] = self.network, self.net_config.to_dict()
        checkpoint["images_seen"] = self.images_seen
        metrics = self.trainer.callback_metrics.items()
        checkpoint["metrics"] = {name: float(value) for name, value in metrics if name.startswith("val/")}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores the number of images seen."""
        self.images_seen = int(checkpoint.get("images_seen", 0))


def segmentation_losses(scores: Tensor, labels: Tensor, valid: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """Cross-entropy, and 1 less the soft Dice overlap of the classes that occur (Milletari et al. 2016).

    Args:
        scores: (B, C, H, W).
        labels: (B, H, W) int64.
        valid: (B, H, W) bool; other pixels have no loss.
        weights: (C,) of the cross-entropy.

    Returns:
        Two scalars by name.
    """
    each = F.cross_entropy(scores, labels, weights, reduction="none")
    truth = F.one_hot(labels, scores.shape[1]).permute(0, 3, 1, 2) * valid[:, None]
    probabilities = scores.softmax(1) * valid[:, None]
    both, total = (probabilities * truth).sum((0, 2, 3)), (probabilities + truth).sum((0, 2, 3))
    occurs = truth.sum((0, 2, 3)) > 0
    dice = 1 - (2 * both[occurs] / total[occurs]).mean()
    return {"cross_entropy": (each * valid).sum() / valid.sum().clamp(min=1), "dice": dice}
