"""LightningModule of the prior: reconstruction, a GAN that starts late, and statistics of the codebook."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from likeness.errors import ConfigError
from likeness.log import get_logger
from likeness.nets.prior import Prior
from likeness.nets.vq import count_codes, usage
from likeness.ops.tensors import to_float_tensor
from likeness.training.base import FaceModule, valid_at_512
from likeness.training.losses.restoration import RestorationLoss

log = get_logger(__name__)

# The codebook collapses if fewer codes than this fraction are used, or if their mean vector is longer than this.
LEAST_USED, LONGEST_MEAN = 0.5, 0.95


class PriorModule(FaceModule):
    """Trains the prior.

    Args:
        net: the network.
        loss: the weighted loss of the reconstruction.
        decoder_only: freezes encoder and codebook, so that codes keep their meaning.
        options: fields of `TrainingConfig`.

    Raises:
        ConfigError: for decoder_only without `init`.
    """

    def __init__(self, net: Prior, loss: RestorationLoss, decoder_only: bool = False, **options: Any) -> None:
        super().__init__(net, "prior", loss, **options)
        if decoder_only and not self.config.init:
            raise ConfigError(
                "model.decoder_only: got true without init=FILE; give the weights whose encoder and codebook are kept"
            )
        self.decoder_only = decoder_only
        self._code_counts: Tensor | None = None  # (heads, size), of this validation

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 256, 256) in [0, 1] to (B, 3, 512, 512)."""
        image: Tensor = self.net(x).image
        return image

    def trained_parameters(self) -> Iterable[nn.Parameter]:
        """The decoder's parameters, or all of them."""
        if not self.decoder_only:
            return self.net.parameters()
        self.net.requires_grad_(False)
        self.net.decoder.requires_grad_(True)
        return self.net.decoder.parameters()

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """One step; logs every loss."""
        x, truth, sharp = to_float_tensor(batch["input"]), to_float_tensor(batch["truth"]), batch["sharp"]
        generator, progress = self.step_generator(), self.shared_progress()
        # The codebook uses torch's global generator (k-means, replaced codes), which must be the same in a resumed run.
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        if self.decoder_only:
            self.net.codebook.eval()  # in training mode it updates its codes
        out = self.net(x)
        self.take_step(
            out.image,
            truth,
            sharp,
            valid_at_512(batch["valid"]),
            progress,
            lambda image: self.loss(image, truth, sharp, progress, generator),
            {} if self.decoder_only else {"commitment": out.commitment},
        )

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """The shared metrics, and counts of the codes."""
        super().validation_step(batch, batch_idx)
        with torch.autocast(self.device.type, enabled=False):
            features, _ = self.net.encode(to_float_tensor(batch["input"]))
        counts = count_codes(self.net.codebook.nearest(features), self.net.codebook.size)
        self._code_counts = counts if self._code_counts is None else self._code_counts + counts

    def on_validation_epoch_end(self) -> None:
        """The shared means and the codebook's usage; warns if the codebook collapses."""
        super().on_validation_epoch_end()
        assert self._code_counts is not None
        book = self.net.codebook
        codes, self._code_counts = usage(self._code_counts, book.vectors), None
        self.log_dict({f"val/codes_{name}": value for name, value in codes._asdict().items()}, sync_dist=True)
        if codes.used < LEAST_USED or codes.alike > LONGEST_MEAN:
            log.warning(
                "prior: %.0f %% of the codes are used (perplexity %.0f of %d) and the length of their mean is %.2f, so "
                "the codebook collapses; lower model.optimizer.lr or reduce model.net.config.codes",
                100 * codes.used,
                codes.perplexity,
                book.size,
                codes.alike,
            )
