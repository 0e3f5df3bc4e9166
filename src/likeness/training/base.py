"""What every network's LightningModule shares: the start, one training step, validation, what a checkpoint states.

The optimisers are called by hand: the losses' gradient is taken at the restored image, where the adversarial part can
be weighed against the others.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn
from torch.optim import Optimizer

from likeness.errors import ConfigError
from likeness.metrics.identity import embedding_distance
from likeness.metrics.lattice import axis_power, lattice
from likeness.metrics.psnr import psnr
from likeness.training.gan import GanConfig, WindowGan, Windows, discriminator_loss, gan_pull
from likeness.training.losses.restoration import RestorationLoss
from likeness.training.schedule import progress
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
        optimizer: builds the network's optimiser.
        init: a released weight file to start from.
        seed: of the random windows and views in the losses.
        gan: the adversarial part; None = none.
        discriminator_optimizer: builds the discriminators' optimiser.
        discriminator_width: channels of the discriminators.
        clip: largest norm of the gradient of the network, and of the discriminators.
    """

    def __init__(
        self,
        net: nn.Module,
        network: str,
        config: _Config,
        loss: RestorationLoss,
        optimizer: OptimizerFactory,
        init: str | None,
        seed: int,
        gan: GanConfig | None = None,
        discriminator_optimizer: OptimizerFactory | None = None,
        discriminator_width: int = 32,
        clip: float = 1.0,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        gan = gan or GanConfig()
        if gan.used and discriminator_optimizer is None:
            raise ConfigError("discriminator_optimizer: got none, but model.gan has weights; give one or set them to 0")
        self.gan = WindowGan(gan, discriminator_width) if gan.used else None
        self.optimizer_factory, self.discriminator_factory = optimizer, discriminator_optimizer
        self.clip = clip
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

    def trained(self) -> Iterable[nn.Parameter]:
        """The weights that the optimiser moves."""
        return self.net.parameters()

    def configure_optimizers(self) -> list[Optimizer]:
        """The network's optimiser and, with a GAN, the discriminators'; `CosineSchedule` sets the rates.

        Raises:
            ConfigError: for fp16, whose scaled gradients would be clipped here, and for a plain ddp with a GAN, which
                waits for the gradients of both networks in every step.
        """
        if str(self.trainer.precision).startswith("16"):
            raise ConfigError(f"trainer.precision: got {self.trainer.precision}, expected bf16-mixed or 32-true")
        optimizers = [self.optimizer_factory(self.trained())]
        if self.gan is None:
            return optimizers
        strategy = self.trainer.strategy
        if isinstance(strategy, DDPStrategy) and not strategy._ddp_kwargs.get("find_unused_parameters"):
            raise ConfigError(
                "trainer.strategy: got ddp, but each step touches one of two networks; give "
                "trainer.strategy=ddp_find_unused_parameters_true"
            )
        assert self.discriminator_factory is not None  # checked at the start
        return [*optimizers, self.discriminator_factory(self.gan.parameters())]

    def share(self) -> float:
        """Progress of the training, the same in all processes: by wall-clock they might disagree."""
        return float(self.trainer.strategy.broadcast(progress(self.trainer)))

    def descend(
        self,
        image: Tensor,
        truth: Tensor,
        sharp: Tensor,
        valid: Tensor,
        progress: float,
        losses: Callable[[Tensor], dict[str, Tensor]],
        other_losses: dict[str, Tensor],
    ) -> None:
        """One step of the network and, once the GAN has set in, one of the discriminators.

        Args:
            image: (B, 3, 512, 512), the network's output.
            truth: the target, the same shape.
            sharp: (B,) bool, faces whose target is sharp at 512; the discriminators see only these.
            valid: (B, 1, 512, 512) bool; pixels outside have no loss.
            progress: share of the training that is done, 0..1.
            losses: weighted losses as a function of the image.
            other_losses: weighted losses that reach the network by other ways.
        """
        leaf = torch.where(valid, image.detach(), truth).requires_grad_()
        parts, discriminator_part = losses(leaf), None
        self.total(parts | other_losses, len(image))
        (gradient,) = torch.autograd.grad(torch.stack([p.float() for p in parts.values()]).sum(), leaf)
        gradient = gradient * valid
        if self.gan is not None and progress >= self.gan.config.start - self.gan.config.lead:
            gradient, discriminator_part = self._discriminate(leaf.detach(), truth, sharp, gradient, progress)
        optimizers = self.optimizers()
        optimizer = optimizers[0] if isinstance(optimizers, list) else optimizers
        optimizer.zero_grad()
        # Its gradient by the image is the one that was just put together.
        surrogate = (image * gradient * valid).sum()
        self.manual_backward(torch.stack([surrogate, *(p.float() for p in other_losses.values())]).sum())
        self.log("gradient", torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.clip))
        optimizer.step()
        if discriminator_part is not None and self.gan is not None:
            # The plain optimiser: Lightning's wrapper would count its steps into `global_step`.
            discriminator_optimizer = self.optimizers(use_pl_optimizer=False)[1]  # type: ignore[index]
            discriminator_optimizer.zero_grad()
            self.manual_backward(discriminator_part)
            torch.nn.utils.clip_grad_norm_(self.gan.parameters(), self.clip)
            discriminator_optimizer.step()

    def _discriminate(
        self, image: Tensor, truth: Tensor, sharp: Tensor, gradient: Tensor, progress: float
    ) -> tuple[Tensor, Tensor]:
        """The gradient with the adversarial part added for sharp faces, and the discriminators' loss."""
        assert self.gan is not None
        config = self.gan.config
        # A batch without a sharp truth teaches nothing, but the step is taken: other processes may have one.
        used, factor = (sharp, 1.0) if bool(sharp.any()) else (torch.ones_like(sharp), 0.0)
        leaf = image[used].requires_grad_()
        windows = Windows(len(leaf), config, self.draws())
        judged = self.gan.compare(leaf, truth[used], windows)
        if progress >= config.start and factor:
            pull, losses = gan_pull(judged, leaf, gradient[used], windows.cover(leaf), config)
            gradient = gradient.index_put((used,), pull, accumulate=True)
            self.log_dict({f"gan/{'scores' if name == 'weight' else name}": value for name, value in losses.items()})
        loss = factor * discriminator_loss(judged)
        self.log("gan/discriminator", loss.detach())
        return gradient, loss

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

    def total(self, parts: dict[str, Tensor], images: int) -> None:
        """Logs the sum of the parts, the parts and the count of images.

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

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Collects per-image figures by recipe."""
        x, truth, valid = as_tensor(batch["input"]), as_tensor(batch["truth"]), batch["valid"][:, None]
        with torch.autocast(self.device.type, enabled=False):
            image = self(x).clamp(0, 1)
        small, small_truth = F.avg_pool2d(image, 2), F.avg_pool2d(truth, 2)
        small, x = (torch.where(valid, t, small_truth) for t in (small, x))
        # The mean of the squared error over what counts, not over all.
        gain = 10 * valid.float().mean((1, 2, 3)).log10()
        figures = {"psnr": psnr(small, small_truth) + gain, "psnr_input": psnr(x, small_truth) + gain}
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


def valid_at_512(valid: Tensor) -> Tensor:
    """(B, 256, 256) bool to (B, 1, 512, 512)."""
    return valid.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, None]


def as_tensor(pixels: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 to (B, 3, H, W) float32 in [0, 1], channels last in memory."""
    return pixels.permute(0, 3, 1, 2).float() / 255
