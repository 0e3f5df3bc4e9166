"""LightningModule of Expert-F."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from likeness.errors import ConfigError
from likeness.metrics.identity import embedding_distance
from likeness.metrics.lattice import axis_power, lattice
from likeness.metrics.psnr import psnr
from likeness.nets.expert_f import ExpertF
from likeness.training.losses.restoration import RestorationLoss
from likeness.training.schedule import progress
from likeness.weights.files import load_into, load_weights

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]


class ExpertFModule(L.LightningModule):
    """Trains Expert-F; the EMA callback's weights are the ones validated and exported.

    Args:
        net: the network.
        loss: the weighted loss.
        optimizer: builds the optimiser from parameters.
        init: a released weight file to start from.
        seed: of the random windows and views in the loss.
    """

    def __init__(
        self,
        net: ExpertF,
        loss: RestorationLoss,
        optimizer: OptimizerFactory,
        init: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.loss, self.optimizer_factory, self.seed = loss, optimizer, seed
        if init:
            load_into(self.net, load_weights(init, "expert_f"), init)
        self.images_seen = 0
        self._sums: dict[str, list[Tensor]] = {}
        self.panel: Tensor | None = None  # (B, 3, 256, 768) input | restored | truth, of the last validation

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 256, 256) in [0, 1] to (B, 3, 512, 512)."""
        image: Tensor = self.net(x).image
        return image

    def configure_optimizers(self) -> Optimizer:
        """The optimiser alone; `CosineSchedule` sets its rate."""
        return self.optimizer_factory(self.parameters())

    def on_fit_start(self) -> None:
        """Moves the loss's frozen networks to the device."""
        self.loss.to(self.device)

    def on_validation_start(self) -> None:
        """The same, for a validation without training."""
        self.loss.to(self.device)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """One step; logs every part of the loss."""
        x, truth = _tensor(batch["input"]), _tensor(batch["truth"])
        out = self.net(x)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.global_step)
        parts = self.loss(out.image, truth, batch["sharp"], out.log_scale, progress(self.trainer), generator)
        total = torch.stack([p.float() for p in parts.values()]).sum()
        if not torch.isfinite(total):
            raise ConfigError(
                f"training: the loss is {float(total)} at step {self.global_step}; lower optimizer.lr or check the data"
            )
        self.images_seen += len(x) * self.trainer.world_size
        self.log("loss", total, prog_bar=True)
        self.log_dict({f"loss/{name}": value.detach() for name, value in parts.items()})
        self.log("images", float(self.images_seen))
        return total

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Collects per-image figures by recipe."""
        x, truth = _tensor(batch["input"]), _tensor(batch["truth"])
        with torch.autocast(self.device.type, enabled=False):
            image = self.net(x).image.clamp(0, 1)
        small, small_truth = F.avg_pool2d(image, 2), F.avg_pool2d(truth, 2)
        figures = {"psnr": psnr(small, small_truth), "psnr_input": psnr(x, small_truth)}
        if self.loss.embedder is not None:
            embed = self.loss.embedder.embed_aligned
            figures["distance"] = embedding_distance(embed(small), embed(small_truth))
        if self.loss.lpips is not None:
            figures["lpips"] = self.loss.lpips(small.contiguous(), small_truth.contiguous())
        for i, recipe in enumerate(batch["drawn"]["recipe"]):
            for name, values in figures.items():
                self._sums.setdefault(f"{recipe}/{name}", []).append(values[i].float().cpu())
        self._sums.setdefault("_images", []).append(small.cpu())
        if batch_idx == 0:
            self.panel = torch.cat([x, small, small_truth], 3).cpu()

    def on_validation_epoch_end(self) -> None:
        """Logs the means, and `val/cost`, by which the best weights are kept (lower is better)."""
        images = torch.cat(self._sums.pop("_images"))
        means = {name: torch.stack(values).mean() for name, values in self._sums.items()}
        self._sums = {}
        self.log_dict({f"val/{name}": value for name, value in means.items()}, sync_dist=True)
        self.log("val/lattice", float(lattice(axis_power(images).mean(0))), sync_dist=True)
        costs = [v for n, v in means.items() if n.endswith(("/distance", "/lpips"))]
        gains = [v for n, v in means.items() if n.endswith("/psnr")]
        # Identity and likeness first; PSNR (a tenth of a decibel as .002) decides between equals.
        cost = (torch.stack(costs).mean() if costs else torch.zeros(())) - 0.02 * torch.stack(gains).mean()
        self.log("val/cost", cost, prog_bar=True, sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps what an export needs: the network's size, the number of images seen, the last figures."""
        checkpoint["network"] = "expert_f"
        checkpoint["net_config"] = self.net.config.to_dict()
        checkpoint["images_seen"] = self.images_seen
        metrics = self.trainer.callback_metrics.items()
        checkpoint["metrics"] = {name: float(value) for name, value in metrics if name.startswith("val/")}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Goes on counting."""
        self.images_seen = int(checkpoint.get("images_seen", 0))


def _tensor(pixels: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 to (B, 3, H, W) float32 in [0, 1], channels last in memory."""
    return pixels.permute(0, 3, 1, 2).float() / 255
