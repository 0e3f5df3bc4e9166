"""LightningModule of the prior: reconstruction, then a late GAN, with the codebook watched."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from likeness.errors import ConfigError
from likeness.log import get_logger
from likeness.nets.prior import Prior
from likeness.nets.vq import count_codes, usage
from likeness.training.base import FaceModule, OptimizerFactory, as_tensor, valid_at_512
from likeness.training.gan import GanConfig
from likeness.training.losses.restoration import RestorationLoss

log = get_logger(__name__)


class PriorModule(FaceModule):
    """Trains the prior; the GAN sets in late, once there is something to judge.

    Args:
        net: the network.
        loss: the weighted reconstruction loss.
        optimizer: builds the optimiser from parameters.
        least_used: share of the codes below which a warning is given: the codebook collapses.
        most_alike: length of the codes' mean vector above which it is given, too.
        decoder_only: encoder and codebook stay as they are, so that codes keep their meaning.
        init: a released weight file to start from.
        seed: of the random windows and views in the losses.
        gan, discriminator_optimizer, discriminator_width, clip: see `FaceModule`.

    Raises:
        ConfigError: for decoder_only without weights to start from.
    """

    def __init__(
        self,
        net: Prior,
        loss: RestorationLoss,
        optimizer: OptimizerFactory,
        least_used: float = 0.5,
        most_alike: float = 0.95,
        decoder_only: bool = False,
        init: str | None = None,
        seed: int = 0,
        gan: GanConfig | None = None,
        discriminator_optimizer: OptimizerFactory | None = None,
        discriminator_width: int = 32,
        clip: float = 1.0,
    ) -> None:
        judges = discriminator_optimizer, discriminator_width
        super().__init__(net, "prior", net.config, loss, optimizer, init, seed, gan, *judges, clip=clip)
        if decoder_only and not init:
            raise ConfigError("decoder_only: got true without init=FILE; give the weights whose codes are to be kept")
        self.decoder_only = decoder_only
        self.least_used, self.most_alike = least_used, most_alike
        self._codes: Tensor | None = None  # (heads, size), how often each occurred in this validation

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 256, 256) in [0, 1] to (B, 3, 512, 512)."""
        image: Tensor = self.net(x).image
        return image

    def trained(self) -> Iterable[nn.Parameter]:
        """The decoder alone, or all of the network."""
        if not self.decoder_only:
            return self.net.parameters()
        self.net.requires_grad_(False)
        self.net.decoder.requires_grad_(True)
        return self.net.decoder.parameters()

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """One step; logs every part of the loss."""
        x, truth, sharp = as_tensor(batch["input"]), as_tensor(batch["truth"]), batch["sharp"]
        draws, share = self.draws(), self.share()
        # The codebook draws from torch's own generator (k-means, revived codes): a resumed run must draw the same.
        torch.manual_seed(int(torch.randint(2**31, (), generator=draws)))
        if self.decoder_only:
            self.net.codebook.eval()  # in training it moves its codes by itself
        out = self.net(x)
        self.descend(
            out.image,
            truth,
            sharp,
            valid_at_512(batch["valid"]),
            share,
            lambda image: self.loss(image, truth, sharp, share, draws),
            {} if self.decoder_only else {"commitment": out.commitment},
        )

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
