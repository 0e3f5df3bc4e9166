"""What the LightningModules of all networks share: the training step, validation and the contents of checkpoints.

Optimisation is manual. The gradient of the image losses is taken with respect to the restored image, where the
adversarial gradient is scaled to match it before both are propagated to the network.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn
from torch.optim import Optimizer

from likeness.data.degradations.recipes import check_recipes
from likeness.errors import ConfigError
from likeness.metrics.identity import embedding_distance
from likeness.metrics.lattice import axis_power, lattice
from likeness.metrics.psnr import psnr
from likeness.ops.tensors import to_float_tensor
from likeness.training.gan import GanConfig, WindowGan, Windows, discriminator_loss, gan_gradient
from likeness.training.losses.dots import invented_dots
from likeness.training.losses.restoration import RestorationLoss
from likeness.training.schedule import progress
from likeness.weights.files import load_into, load_weights

_LARGEST_SHIFT = 4  # pixels at 256; the coarsest lattice seen, of the Haar upsampling to 64 pixels, repeats after 8
_SHIFT_MARGIN = 32  # pixels at 512

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]


@dataclass(frozen=True)
class TrainingConfig:
    """Options that all networks share.

    Attributes:
        optimizer: builds the network's optimiser from its parameters.
        init: weight file to start from; None = newly initialised weights.
        dots_recipes: recipes to whose faces `loss.weights.dots` applies. Empty = all.
        seed: of the random windows and views in the losses.
        max_grad_norm: gradients of the network, and of the discriminators, are clipped to this norm.
        gan: the adversarial losses. Without weights there are no discriminators.
        discriminator_optimizer: builds the discriminators' optimiser from their parameters.
    """

    optimizer: OptimizerFactory
    init: str | None = None
    dots_recipes: tuple[str, ...] = ()
    seed: int = 0
    max_grad_norm: float = 1.0
    gan: GanConfig = field(default_factory=GanConfig)
    discriminator_optimizer: OptimizerFactory | None = None

    def __post_init__(self) -> None:
        check_recipes(self.dots_recipes)
        if self.gan.used and self.discriminator_optimizer is None:
            raise ConfigError(
                "model.discriminator_optimizer: got none, but model.gan has weights; give one or set the weights to 0"
            )


class FaceModule(L.LightningModule):
    """Trains and validates a network that turns 256 px crops into 512 px ones.

    Validation uses the weights of the EMA callback, where there is one.

    Args:
        net: the network; its `config` is kept in checkpoints.
        name: the network's name in weight files.
        loss: the weighted loss; validation uses its frozen networks, too.
        options: fields of `TrainingConfig`.
    """

    def __init__(self, net: nn.Module, name: str, loss: RestorationLoss, **options: Any) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.config = config = TrainingConfig(**options)
        self.gan = WindowGan(config.gan) if config.gan.used else None
        self.net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network, self.loss, self.seed = name, loss, config.seed
        if config.init:
            load_into(self.net, load_weights(config.init, name), config.init)
        # In a tuple, so that it is no submodule: state, EMA and optimiser must not contain it.
        self._first: tuple[nn.Module, ...] = ()
        if loss.weights.cycle_spinning or loss.weights.keep:
            if not config.init:
                raise ConfigError(
                    f"loss.weights: got cycle_spinning={loss.weights.cycle_spinning} and keep={loss.weights.keep} "
                    "without init=FILE; give the weights to learn from"
                )
            self._first = (copy.deepcopy(self.net).eval().requires_grad_(False),)
        self.images_seen = 0
        self._sums: dict[str, list[Tensor]] = {}
        self.panel: Tensor | None = None  # (B, 3, 256, 768): input | restored | truth of the last validation

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 256, 256) in [0, 1] to (B, 3, 512, 512)."""

    def on_fit_start(self) -> None:
        """Moves the loss's frozen networks to the device."""
        self.loss.to(self.device)
        for net in self._first:
            net.to(self.device)

    def on_validation_start(self) -> None:
        """The same, for a validation without training."""
        self.loss.to(self.device)

    def trained_parameters(self) -> Iterable[nn.Parameter]:
        """The parameters that the optimiser updates."""
        return self.net.parameters()

    def configure_optimizers(self) -> list[Optimizer]:
        """The network's optimiser and, with a GAN, the discriminators'. `CosineSchedule` sets the learning rates.

        Raises:
            ConfigError: for fp16, whose scaled gradients would be clipped here, and for a plain ddp with a GAN, which
                waits for the gradients of both networks in every step.
        """
        if str(self.trainer.precision).startswith("16"):
            raise ConfigError(f"trainer.precision: got {self.trainer.precision}, expected bf16-mixed or 32-true")
        optimizers = [self.config.optimizer(self.trained_parameters())]
        if self.gan is None:
            return optimizers
        strategy = self.trainer.strategy
        if isinstance(strategy, DDPStrategy) and not strategy._ddp_kwargs.get("find_unused_parameters"):
            raise ConfigError(
                "trainer.strategy: got ddp, but with a GAN each step uses one of two networks; give "
                "trainer.strategy=ddp_find_unused_parameters_true"
            )
        assert self.config.discriminator_optimizer is not None  # TrainingConfig has checked it
        return [*optimizers, self.config.discriminator_optimizer(self.gan.parameters())]

    def shared_progress(self) -> float:
        """Progress of the training, 0..1, the same in all processes: by wall-clock time they might disagree."""
        return float(self.trainer.strategy.broadcast(progress(self.trainer)))

    def step_generator(self) -> torch.Generator:
        """The generator of this step's random windows and views."""
        return torch.Generator().manual_seed(self.seed * 1_000_003 + self.global_step)

    def take_step(
        self,
        image: Tensor,
        truth: Tensor,
        sharp: Tensor,
        valid: Tensor,
        progress: float,
        image_losses: Callable[[Tensor], dict[str, Tensor]],
        other_losses: dict[str, Tensor],
    ) -> None:
        """One step of the network and, once the GAN has started, one of the discriminators.

        Args:
            image: (B, 3, 512, 512), the network's output.
            truth: the target, the same shape.
            sharp: (B,) bool, faces whose target is sharp at 512; the GAN loss applies to these only.
            valid: (B, 1, 512, 512) bool; pixels outside have no loss.
            progress: of the training, 0..1.
            image_losses: weighted losses as a function of the image.
            other_losses: weighted losses that reach the network by other paths.
        """
        leaf = torch.where(valid, image.detach(), truth).requires_grad_()
        losses, discriminator_part = image_losses(leaf), None
        self.log_losses(losses | other_losses, len(image))
        (gradient,) = torch.autograd.grad(torch.stack([p.float() for p in losses.values()]).sum(), leaf)
        gradient = gradient * valid
        if self.gan is not None and progress >= self.gan.config.start - self.gan.config.head_start:
            gradient, discriminator_part = self._add_gan(leaf.detach(), truth, sharp, gradient, progress)
        optimizers = self.optimizers()
        optimizer = optimizers[0] if isinstance(optimizers, list) else optimizers
        optimizer.zero_grad()
        # The derivative of this product with respect to the image is the gradient that was computed above.
        surrogate = (image * gradient * valid).sum()
        self.manual_backward(torch.stack([surrogate, *(p.float() for p in other_losses.values())]).sum())
        trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(trained, self.config.max_grad_norm)
        self.log("grad_norm", norm)
        optimizer.step()
        if discriminator_part is not None and self.gan is not None:
            # The plain optimiser: the steps of Lightning's wrapper would count towards `global_step`.
            discriminator_optimizer = self.optimizers(use_pl_optimizer=False)[1]  # type: ignore[index]
            discriminator_optimizer.zero_grad()
            self.manual_backward(discriminator_part)
            torch.nn.utils.clip_grad_norm_(self.gan.parameters(), self.config.max_grad_norm)
            discriminator_optimizer.step()

    def _add_gan(
        self, image: Tensor, truth: Tensor, sharp: Tensor, gradient: Tensor, progress: float
    ) -> tuple[Tensor, Tensor]:
        """The gradient with the adversarial one added for sharp faces, and the discriminators' loss."""
        assert self.gan is not None
        config = self.gan.config
        # Without a sharp truth the loss is 0, but the step is taken: other processes may have one.
        used, factor = (sharp, 1.0) if bool(sharp.any()) else (torch.ones_like(sharp), 0.0)
        leaf = image[used].requires_grad_()
        windows = Windows(len(leaf), config, self.step_generator())
        outputs = self.gan.compare(leaf, truth[used], windows)
        if progress >= config.start and factor:
            adversarial, losses = gan_gradient(outputs, leaf, gradient[used], windows.mask(leaf), config)
            gradient = gradient.index_put((used,), adversarial, accumulate=True)
            self.log_dict({f"gan/{'scores' if name == 'weight' else name}": value for name, value in losses.items()})
        loss = factor * discriminator_loss(outputs)
        self.log("gan/discriminator", loss.detach())
        return gradient, loss

    def temporal_consistency(
        self, batch: dict[str, Any], image: Tensor, restore: Callable[[Tensor], Tensor], mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The loss on changes from one frame to the next; empty if it has no weight.

        Both frames have the same truth, so every change is flicker.

        Args:
            batch: with `next_input`, see `data.collate.next_inputs`.
            image: (B, 3, 512, 512), restored from `input`.
            restore: the network, (B, 3, 256, 256) to (B, 3, 512, 512).
            mask: (B,) bool, faces to which the loss applies; None = all.

        Raises:
            ConfigError: if the batch has no `next_input`.
        """
        weight = self.loss.weights.temporal_consistency
        if not weight:
            return {}
        if "next_input" not in batch:
            raise ConfigError(
                f"loss.weights.temporal_consistency: got {weight}, but the data have no frame pairs; give "
                "data.frame_pairs=true"
            )
        change = (restore(to_float_tensor(batch["next_input"])) - image).float().abs().mean((1, 2, 3))
        return {"temporal_consistency": weight * (change if mask is None else change * mask).mean()}

    def dots(
        self, batch: dict[str, Any], image: Tensor, truth: Tensor, sharp: Tensor, valid: Tensor
    ) -> dict[str, Tensor]:
        """The weighted loss of invented dots; empty without a weight. Arguments as for `take_step`."""
        weight, chosen = self.loss.weights.dots, self.config.dots_recipes
        if not weight:
            return {}
        counted = [not chosen or recipe in chosen for recipe in batch["params"]["recipe"]]
        return {"dots": weight * invented_dots(image, truth, valid, sharp & torch.tensor(counted, device=sharp.device))}

    def first_picture(
        self,
        inputs: Sequence[Tensor],
        image: Tensor,
        restore: Callable[..., Tensor],
        generator: torch.Generator,
        mask: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The squared difference to what the weights that training started from restore; empty without a weight.

        `keep` compares with their picture, `cycle_spinning` with their mean over shifted inputs. Upsamplings leave a
        lattice that is fixed to the pixel grid, and LPIPS rewards it as texture. The mean over shifted inputs, shifted
        back, is free of it (cycle spinning, Coifman and Donoho 1995). One random shift a step is enough: the gradient
        of a squared error is on average that of the error to the mean.

        Args:
            inputs: (B, C, 256, 256) each; all are shifted alike, by -4 to 3 rows and columns.
            image: (B, 3, 512, 512), restored from them.
            restore: the network with the weights that training started from, the inputs to (B, 3, 512, 512).
            generator: source of the shift.
            mask: (B,) bool, faces to which the loss applies; None = all.
        """
        weights, losses, shift = self.loss.weights, {}, [0, 0]
        if weights.cycle_spinning:
            shift = torch.randint(-_LARGEST_SHIFT, _LARGEST_SHIFT, (2,), generator=generator).tolist()
        # Rolling brings the opposite edge in.
        inner = (..., slice(_SHIFT_MARGIN, -_SHIFT_MARGIN), slice(_SHIFT_MARGIN, -_SHIFT_MARGIN))
        for name, weight, (y, x) in (
            ("keep", weights.keep, (0, 0)),
            ("cycle_spinning", weights.cycle_spinning, shift),
        ):
            if weight:
                with torch.no_grad():
                    target = restore(*(t.roll((y, x), (-2, -1)) for t in inputs)).roll((-2 * y, -2 * x), (-2, -1))
                error = (image[inner] - target[inner]).float().square().mean((1, 2, 3))
                losses[name] = weight * (error if mask is None else error * mask).mean()
        return losses

    def log_losses(self, losses: dict[str, Tensor], images: int) -> None:
        """Logs the losses, their sum and the number of images seen.

        Raises:
            ConfigError: if the sum is not finite.
        """
        total = torch.stack([p.float() for p in losses.values()]).sum()
        if not torch.isfinite(total):
            raise ConfigError(
                f"training: the loss is {float(total)} at step {self.global_step}; lower optimizer.lr or check the data"
            )
        self.images_seen += images * self.trainer.world_size
        self.log("loss", total, prog_bar=True)
        self.log_dict({f"loss/{name}": value.detach() for name, value in losses.items()})
        self.log("images", float(self.images_seen))

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Collects the metrics of each image by recipe."""
        x, truth, valid = to_float_tensor(batch["input"]), to_float_tensor(batch["truth"]), batch["valid"][:, None]
        with torch.autocast(self.device.type, enabled=False):
            image = self(x).clamp(0, 1)
        small, small_truth = F.avg_pool2d(image, 2), F.avg_pool2d(truth, 2)
        small, x = (torch.where(valid, t, small_truth) for t in (small, x))
        # The mean squared error over valid pixels, not over all.
        correction = 10 * valid.float().mean((1, 2, 3)).log10()
        metrics = {"psnr": psnr(small, small_truth) + correction, "psnr_input": psnr(x, small_truth) + correction}
        if self.loss.embedder is not None:
            embed = self.loss.embedder.embed_aligned
            metrics["distance"] = embedding_distance(embed(small), embed(small_truth))
        if self.loss.lpips is not None:
            metrics["lpips"] = self.loss.lpips(small.contiguous(), small_truth.contiguous())
        for i, recipe in enumerate(batch["params"]["recipe"]):
            for name, values in metrics.items():
                self._sums.setdefault(f"{recipe}/{name}", []).append(values[i].float().cpu())
        self._sums.setdefault("_images", []).append(small.cpu())
        if batch_idx == 0:
            self.panel = torch.cat([x, small, small_truth], 3).cpu()

    def on_validation_epoch_end(self) -> None:
        """Logs the means, and `val/cost`, by which the best checkpoint is selected (lower is better)."""
        images = torch.cat(self._sums.pop("_images"))
        means = {name: torch.stack(values).mean() for name, values in self._sums.items()}
        self._sums = {}
        self.log_dict({f"val/{name}": value for name, value in means.items()}, sync_dist=True)
        self.log("val/lattice", float(lattice(axis_power(images).mean(0))), sync_dist=True)
        costs = [v for n, v in means.items() if n.endswith(("/distance", "/lpips"))]
        psnrs = [v for n, v in means.items() if n.endswith("/psnr")]
        # Identity and perceptual distance dominate; 0.1 dB of PSNR counts as 0.002.
        cost = (torch.stack(costs).mean() if costs else torch.zeros(())) - 0.02 * torch.stack(psnrs).mean()
        self.log("val/cost", cost, prog_bar=True, sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what an export needs: the network's name and size, the number of images seen, the last metrics."""
        checkpoint["network"] = self.network
        checkpoint["net_config"] = self.net.config.to_dict()
        checkpoint["images_seen"] = self.images_seen
        metrics = self.trainer.callback_metrics.items()
        checkpoint["metrics"] = {name: float(value) for name, value in metrics if name.startswith("val/")}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores the number of images seen."""
        self.images_seen = int(checkpoint.get("images_seen", 0))


def valid_at_512(valid: Tensor) -> Tensor:
    """(B, 256, 256) bool to (B, 1, 512, 512)."""
    return valid.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, None]
