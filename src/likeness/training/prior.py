"""LightningModule of the prior: reconstruction, then a late GAN, with the codebook watched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch.optim import Optimizer

from likeness.errors import ConfigError
from likeness.log import get_logger
from likeness.nets.discriminator import PatchDiscriminator, adaptive_weight, hinge_discriminator, hinge_generator
from likeness.nets.prior import OUTPUT_SIZE, Prior
from likeness.nets.vq import count_codes, usage
from likeness.training.base import FaceModule, OptimizerFactory, as_tensor
from likeness.training.losses.restoration import RestorationLoss
from likeness.training.schedule import progress

log = get_logger(__name__)


@dataclass(frozen=True)
class GanConfig:
    """The adversarial part.

    Attributes:
        weight: how hard it pulls, inside the windows that are judged, beside the reconstruction (1 = as hard); 0
            leaves it out.
        start: progress (0..1) of the training at which it sets in: before, there is nothing to judge.
        lead: how much progress before that the discriminator begins to learn: nobody should follow a novice.
        window: edge in pixels of the windows that are judged, at 512, sharp truths only: a sixteenth of the picture
            moved nothing beside the reconstruction of all of it.
    """

    weight: float = 1.0
    start: float = 0.7
    lead: float = 0.05
    window: int = 256

    def __post_init__(self) -> None:
        if self.weight < 0 or not 70 <= self.window <= OUTPUT_SIZE:
            raise ConfigError(
                f"gan: got weight={self.weight}, window={self.window}; expected a weight from 0 up and a window of "
                f"70 (what one score sees) to {OUTPUT_SIZE}"
            )


class PriorModule(FaceModule):
    """Trains the prior; two optimisers by hand, since Lightning alternates none for us.

    Args:
        net: the network.
        discriminator: judges windows of its output.
        loss: the weighted reconstruction loss.
        optimizer, discriminator_optimizer: build the optimisers from parameters.
        gan: when and how hard the discriminator pulls.
        clip: largest norm of the gradient of either network.
        least_used: share of the codes below which a warning is given: the codebook collapses.
        most_alike: length of the codes' mean vector above which it is given, too.
        init: a released weight file to start from.
        seed: of the random windows and views in the loss.
    """

    def __init__(
        self,
        net: Prior,
        discriminator: PatchDiscriminator,
        loss: RestorationLoss,
        optimizer: OptimizerFactory,
        discriminator_optimizer: OptimizerFactory,
        gan: GanConfig | None = None,
        clip: float = 1.0,
        least_used: float = 0.5,
        most_alike: float = 0.95,
        init: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(net, "prior", net.config, loss, init, seed)
        self.automatic_optimization = False
        self.discriminator = discriminator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer_factories = optimizer, discriminator_optimizer
        self.gan, self.clip = gan or GanConfig(), clip
        self.least_used, self.most_alike = least_used, most_alike
        self._codes: Tensor | None = None  # (heads, size), how often each occurred in this validation

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 256, 256) in [0, 1] to (B, 3, 512, 512)."""
        image: Tensor = self.net(x).image
        return image

    def configure_optimizers(self) -> list[Optimizer]:
        """The prior's and the discriminator's; `CosineSchedule` sets both rates.

        Raises:
            ConfigError: for fp16, whose scaled gradients would be clipped here, and for a plain ddp, which waits for
                the gradients of both networks in every step.
        """
        strategy = self.trainer.strategy
        if isinstance(strategy, DDPStrategy) and not strategy._ddp_kwargs.get("find_unused_parameters"):
            raise ConfigError(
                "trainer.strategy: got ddp, but each step touches one of two networks; give "
                "trainer.strategy=ddp_find_unused_parameters_true"
            )
        if str(self.trainer.precision).startswith("16"):
            raise ConfigError(f"trainer.precision: got {self.trainer.precision}, expected bf16-mixed or 32-true")
        prior, discriminator = self.optimizer_factories
        return [prior(self.net.parameters()), discriminator(self.discriminator.parameters())]

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """One step of the prior and, once the GAN has set in, one of the discriminator."""
        x, truth, sharp = as_tensor(batch["input"]), as_tensor(batch["truth"]), batch["sharp"]
        optimizer, _ = self.optimizers()  # type: ignore[attr-defined]
        draws = self.draws()
        # By wall-clock, processes may disagree about the progress; all must take the same number of steps.
        share = self.trainer.strategy.broadcast(progress(self.trainer))
        # The codebook draws from torch's own generator (k-means, revived codes): a resumed run must draw the same.
        torch.manual_seed(int(torch.randint(2**31, (), generator=draws)))
        out = self.net(x)
        # The losses' gradient is taken at the image, so that the GAN's share can be weighed there.
        image = out.image.detach().requires_grad_()
        parts = self.loss(image, truth, sharp, None, share, draws)
        (pull,) = torch.autograd.grad(torch.stack([p.float() for p in parts.values()]).sum(), image)
        judged = self.gan.weight > 0 and share >= self.gan.start - self.gan.lead
        window = _window(self.gan.window, draws)
        if judged and share >= self.gan.start and bool(sharp.any()):
            generator = hinge_generator(self.discriminator(image[sharp][window]))
            (push,) = torch.autograd.grad(generator, image)
            weight = self.gan.weight * adaptive_weight(pull[sharp][window], push[sharp][window])
            pull = pull + weight * push
            self.log_dict({"gan/generator": generator.detach(), "gan/weight": weight})
        self.total(parts | {"commitment": out.commitment}, len(x))
        optimizer.zero_grad()
        self.manual_backward((out.image * pull).sum() + out.commitment)
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.clip)
        optimizer.step()
        self.log("gradient", norm)
        if judged:
            self._judge(truth[window], image.detach()[window], sharp)

    def _judge(self, real: Tensor, fake: Tensor, sharp: Tensor) -> None:
        # The plain optimiser: Lightning's wrapper would count its steps into `global_step`.
        optimizer = self.optimizers(use_pl_optimizer=False)[1]  # type: ignore[index]
        # A batch without a sharp truth teaches nothing, but the step is taken: other processes may have one.
        counted, share = (sharp, 1.0) if bool(sharp.any()) else (torch.ones_like(sharp), 0.0)
        loss = share * hinge_discriminator(self.discriminator(real[counted]), self.discriminator(fake[counted]))
        optimizer.zero_grad()
        self.manual_backward(loss)
        torch.nn.utils.clip_grad_norm_(self.discriminator.parameters(), self.clip)
        optimizer.step()
        self.log("gan/discriminator", loss.detach())

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """The shared figures, and which codes occur."""
        super().validation_step(batch, batch_idx)
        with torch.autocast(self.device.type, enabled=False):
            features, _ = self.net.encode(as_tensor(batch["input"]))
        counts = count_codes(self.net.codebook.nearest(features), self.net.codebook.size)
        self._codes = counts if self._codes is None else self._codes + counts

    def on_validation_epoch_end(self) -> None:
        """The shared means, and how the codebook is used; a warning where it collapses."""
        super().on_validation_epoch_end()
        assert self._codes is not None
        book = self.net.codebook
        found, self._codes = usage(self._codes, book.vectors), None
        self.log_dict({f"val/codes_{name}": value for name, value in found._asdict().items()}, sync_dist=True)
        if found.used < self.least_used or found.alike > self.most_alike:
            log.warning(
                "prior: %.0f %% of the codes occur (perplexity %.0f of %d) and their mean has the length %.2f: the "
                "codebook collapses; lower model.optimizer.lr, or give it fewer codes",
                100 * found.used,
                found.perplexity,
                book.size,
                found.alike,
            )


def _window(size: int, generator: torch.Generator) -> tuple[slice, slice, slice, slice]:
    y, x = (int(torch.randint(OUTPUT_SIZE - size + 1, (), generator=generator)) for _ in range(2))
    return slice(None), slice(None), slice(y, y + size), slice(x, x + size)
