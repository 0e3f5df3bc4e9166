"""LightningModule of Expert-T: the codes first, then fidelity; the prior and Expert-F stay as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from likeness.errors import ConfigError
from likeness.nets.expert_f import ExpertF
from likeness.nets.expert_t import ExpertT, ExpertTOutput, Frozen, Knobs, Reading, Seen
from likeness.training.base import FaceModule, OptimizerFactory, as_tensor, valid_at_512
from likeness.training.gan import GanConfig
from likeness.training.losses.frequency import focal_frequency
from likeness.training.losses.restoration import RestorationLoss
from likeness.weights.networks import load_network, load_prior

Stage = Literal["codes", "fidelity"]


@dataclass(frozen=True)
class TokenConfig:
    """What Expert-T learns beside the restored face.

    Attributes:
        stage: codes = the prior alone draws (fidelity 0); fidelity = the decoder is changed by the input, too.
        codes: weight of the cross-entropy of the clean face's codes.
        exchange: weight of rendering one person's content with another picture's quality.
        ends: share of the faces, in the stage fidelity, that train each end of that knob, 0 and 1.
        start: where an encoder of its own (net.config.regress=false) begins, where no weights are given: expert_f = as
            Expert-F's, scratch = anew.
    """

    stage: Stage = "codes"
    codes: float = 0.01
    exchange: float = 0.5
    ends: float = 0.2
    start: Literal["expert_f", "scratch"] = "expert_f"

    def __post_init__(self) -> None:
        if self.stage not in ("codes", "fidelity"):
            raise ConfigError(f"model.tokens.stage: got {self.stage!r}, expected codes or fidelity")
        if not 0 <= self.ends <= 0.5 or min(self.codes, self.exchange) < 0:
            raise ConfigError(
                f"model.tokens: got ends={self.ends}, codes={self.codes}, exchange={self.exchange}; expected a share "
                "from 0 to .5 and weights from 0 up"
            )


class ExpertTModule(FaceModule):
    """Trains Expert-T; the EMA callback's weights are the ones validated and exported.

    Args:
        net: the network.
        loss: the weighted loss of a restored face.
        optimizer: builds the optimiser from parameters.
        tokens: what is learned beside it, and the stage.
        prior, expert_f: weight files of the frozen networks; None = the released ones.
        init: a released weight file, or one exported from the first stage, to start from.
        seed: of the random windows, views and knobs.
        gan, discriminator_optimizer, clip: see `FaceModule`.
    """

    def __init__(
        self,
        net: ExpertT,
        loss: RestorationLoss,
        optimizer: OptimizerFactory,
        tokens: TokenConfig | None = None,
        prior: str | None = None,
        expert_f: str | None = None,
        init: str | None = None,
        seed: int = 0,
        gan: GanConfig | None = None,
        discriminator_optimizer: OptimizerFactory | None = None,
        clip: float = 1.0,
    ) -> None:
        super().__init__(
            net, "expert_t", net.config, loss, optimizer, init, seed, gan, discriminator_optimizer, clip=clip
        )
        self.tokens = tokens or TokenConfig()
        first = cast(ExpertF, load_network("expert_f", expert_f)[0].eval().requires_grad_(False))
        if not init and self.tokens.start == "expert_f":
            net.start_from(first)
        # No submodules on purpose: they are not part of this network's state, of its averages, or of its optimiser.
        self._frozen = (Frozen(load_prior(prior)[0], first if net.config.regress else None),)

    @property
    def frozen(self) -> Frozen:
        """The prior and Expert-F."""
        return self._frozen[0]

    def on_fit_start(self) -> None:
        """Moves what is no submodule to the device."""
        super().on_fit_start()
        self._move()

    def on_validation_start(self) -> None:
        """The same, for a validation without training."""
        super().on_validation_start()
        self._move()

    def _move(self) -> None:
        for net in self.frozen:
            if net is not None:
                net.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 256, 256) in [0, 1] to (B, 3, 512, 512), as a user gets it after this stage."""
        image: Tensor = self.net(x, self.frozen, Knobs(fidelity=0.0 if self.tokens.stage == "codes" else 0.5)).image
        return image

    def trained(self) -> list[torch.nn.Parameter]:
        """Only what the stage trains."""
        net = cast(ExpertT, self.net)
        if self.tokens.stage == "codes":
            net.transforms.requires_grad_(False)
            net.fidelity.requires_grad_(False)
        return [p for p in net.parameters() if p.requires_grad]

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """One step; logs every part of the loss."""
        net, draws, share = cast(ExpertT, self.net), self.draws(), self.share()
        x, truth, sharp = as_tensor(batch["input"]), as_tensor(batch["truth"]), batch["sharp"]
        valid, unknown = valid_at_512(batch["valid"]), batch["unknown"][:, None]
        seen = net.see(x, self.frozen, unknown)
        reading = net.read(seen)
        fidelity = self._fidelity(len(x), draws).to(self.device)
        out = net.render(reading, reading.clean, seen, self.frozen.prior, Knobs(fidelity))
        # At fidelity 1 the input itself is asked for, where it is known.
        as_it_was = fidelity == 1
        kept = as_it_was[:, None, None, None] & ~valid_at_512(batch["unknown"])
        target = torch.where(kept, F.interpolate(x, scale_factor=2.0, mode="bicubic"), truth)
        others = {"scale": self.loss.scale(out.log_scale, out.image, truth, valid)}
        if net.config.codebook and self.tokens.codes:
            others["codes"] = self.tokens.codes * self._codes(out, F.avg_pool2d(truth, 2), batch["valid"])
        if net.config.split and self.tokens.exchange and "exchanged" in batch:
            others["exchange"] = self.tokens.exchange * self._exchange(reading, seen, batch)
        # What was asked to be the input flickers as that does.
        others |= self.steady(
            batch,
            out.image,
            lambda after: cast(Tensor, net(after, self.frozen, Knobs(fidelity), unknown).image),
            ~as_it_was,
        )
        self.log("sureness", net.sureness.detach().exp().mean())
        judged = sharp & ~as_it_was
        self.descend(
            out.image,
            target,
            judged,
            valid,
            share,
            lambda image: self.loss(image, target, judged, share, draws),
            others,
        )

    def _fidelity(self, count: int, draws: torch.Generator) -> Tensor:
        """(B,): 0 in the first stage; then an end for a few faces, the middle for the others."""
        if self.tokens.stage == "codes":
            return torch.zeros(count)
        drawn, ends = torch.rand(count, generator=draws), self.tokens.ends
        return torch.where(drawn < ends, 0.0, torch.where(drawn < 2 * ends, 1.0, 0.5))

    def _codes(self, out: ExpertTOutput, truth: Tensor, valid: Tensor) -> Tensor:
        """Cross-entropy with the codes that the prior gives the clean face; logs how many are hit.

        Cells with a pixel outside of `valid`, (B, 256, 256) bool, do not count.
        """
        with torch.no_grad():
            wanted = rearrange(
                self.frozen.prior.codebook.nearest(self.frozen.prior.encode(truth)[0]), "b h w k -> b k h w"
            )
        logits = out.logits.float()
        self.log("codes_right", (logits.detach().argmax(-1) == wanted).float().mean())
        whole = F.avg_pool2d(valid[:, None].float(), valid.shape[-1] // wanted.shape[-1]) == 1
        lost = F.cross_entropy(logits.flatten(0, -2), wanted.flatten(), reduction="none").view(wanted.shape)
        return (lost * whole).sum() / (whole.sum() * wanted.shape[1]).clamp(min=1)

    def _exchange(self, reading: Reading, seen: Seen, batch: dict[str, Any]) -> Tensor:
        """Every second face with the quality of the next one's picture: what comes out is known.

        `exchanged` holds each truth with the degradation of the next sample, so this asks at once that content alone
        says who it is, and quality alone what the picture looks like.
        """
        net, half = cast(ExpertT, self.net), slice(None, None, 2)
        wanted = as_tensor(batch["exchanged"][half])
        look = reading.quality.roll(-1, 0)[half]
        own = Reading(reading.content[half], look, look, cast(Any, tuple(m[half] for m in reading.maps)))
        knobs = Knobs(fidelity=0.0 if self.tokens.stage == "codes" else 0.5)
        out = net.render(own, look, seen.at(half), self.frozen.prior, knobs)
        image = torch.where(batch["valid"][half][:, None], F.avg_pool2d(out.image, 2).float(), wanted)
        every = torch.ones(len(image), device=image.device)
        return (image - wanted).abs().mean() + self.loss.weights.frequency * focal_frequency(image, wanted, every)
