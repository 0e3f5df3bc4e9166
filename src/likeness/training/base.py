"""What every network's LightningModule shares: the start, the count of images, validation, what a checkpoint states."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from likeness.errors import ConfigError
from likeness.metrics.identity import embedding_distance
from likeness.metrics.lattice import axis_power, lattice
from likeness.metrics.psnr import psnr
from likeness.training.losses.restoration import RestorationLoss
from likeness.weights.files import load_into, load_weights

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]


class _Config(Protocol):
    def to_dict(self) -> dict[str, Any]: ...


class FaceModule(L.LightningModule):
    """Validates a network that turns 256 crops into 512 ones; the EMA callback's weights are the ones seen here.

    Args:
        net: the network.
        network: its name in weight files.
        config: its size, kept in checkpoints.
        loss: the weighted loss; its frozen networks also measure in validation.
        init: a released weight file to start from.
        seed: of the random windows and views in the loss.
    """

    def __init__(
        self, net: nn.Module, network: str, config: _Config, loss: RestorationLoss, init: str | None, seed: int
    ) -> None:
        super().__init__()
        self.net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network, self.net_config, self.loss, self.seed = network, config, loss, seed
        if init:
            load_into(self.net, load_weights(init, network), init)
        self.images_seen = 0
        self._sums: dict[str, list[Tensor]] = {}
        self.panel: Tensor | None = None  # (B, 3, 256, 768) input | restored | truth, of the last validation

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 256, 256) in [0, 1] to (B, 3, 512, 512)."""

    def on_fit_start(self) -> None:
        """Moves the loss's frozen networks to the device."""
        self.loss.to(self.device)

    def on_validation_start(self) -> None:
        """The same, for a validation without training."""
        self.loss.to(self.device)

    def draws(self) -> torch.Generator:
        """The generator of this step's windows and views."""
        return torch.Generator().manual_seed(self.seed * 1_000_003 + self.global_step)

    def steady(
        self, batch: dict[str, Any], image: Tensor, again: Callable[[Tensor], Tensor], counted: Tensor | None = None
    ) -> dict[str, Tensor]:
        """How much the face changes from a frame to the next, as a part of the loss; empty where that has no weight.

        The truth of both is one and the same, so every change is flicker.

        Args:
            batch: with `neighbour`, see `data.restoration.neighbouring`.
            image: (B, 3, 512, 512), restored from `input`.
            again: restores (B, 3, 256, 256) in the same way.
            counted: (B,) bool, which faces are asked to hold still; None = all.

        Raises:
            ConfigError: if the data hold no neighbours.
        """
        weight = self.loss.weights.steady
        if not weight:
            return {}
        if "neighbour" not in batch:
            raise ConfigError(f"loss.weights.steady: got {weight} without neighbours; give data.neighbours=true")
        change = (again(as_tensor(batch["neighbour"])) - image).float().abs().mean((1, 2, 3))
        return {"steady": weight * (change if counted is None else change * counted).mean()}

    def total(self, parts: dict[str, Tensor], images: int) -> Tensor:
        """The sum of the parts; logs it, the parts and the count of images.

        Raises:
            ConfigError: if it is no finite number.
        """
        total = torch.stack([p.float() for p in parts.values()]).sum()
        if not torch.isfinite(total):
            raise ConfigError(
                f"training: the loss is {float(total)} at step {self.global_step}; lower optimizer.lr or check the data"
            )
        self.images_seen += images * self.trainer.world_size
        self.log("loss", total, prog_bar=True)
        self.log_dict({f"loss/{name}": value.detach() for name, value in parts.items()})
        self.log("images", float(self.images_seen))
        return total

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Collects per-image figures by recipe."""
        x, truth = as_tensor(batch["input"]), as_tensor(batch["truth"])
        with torch.autocast(self.device.type, enabled=False):
            image = self(x).clamp(0, 1)
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
        checkpoint["network"] = self.network
        checkpoint["net_config"] = self.net_config.to_dict()
        checkpoint["images_seen"] = self.images_seen
        metrics = self.trainer.callback_metrics.items()
        checkpoint["metrics"] = {name: float(value) for name, value in metrics if name.startswith("val/")}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Goes on counting."""
        self.images_seen = int(checkpoint.get("images_seen", 0))


def as_tensor(pixels: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 to (B, 3, H, W) float32 in [0, 1], channels last in memory."""
    return pixels.permute(0, 3, 1, 2).float() / 255
