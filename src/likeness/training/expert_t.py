"""LightningModule of Expert-T: first the codes, then fidelity.

Expert-F and the prior's codes stay frozen; the prior's decoder may be trained along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from likeness.data.degradations.recipes import check_recipes
from likeness.errors import ConfigError
from likeness.nets.expert_f import ExpertF
from likeness.nets.expert_t import ExpertT
from likeness.nets.expert_t_data import Encoded, ExpertTOutput, Frozen, Knobs, Tokens
from likeness.nets.prior import DECODER
from likeness.ops.tensors import to_float_tensor
from likeness.training.base import FaceModule, valid_at_512
from likeness.training.losses.frequency import focal_frequency
from likeness.training.losses.restoration import RestorationLoss
from likeness.weights.networks import load_network, load_prior

Stage = Literal["codes", "fidelity"]


@dataclass(frozen=True)
class TokenConfig:
    """What Expert-T learns besides restoring the face.

    Attributes:
        stage: codes = the prior alone decodes (fidelity 0); fidelity = the input modulates the decoder, too.
        codes: weight of the cross-entropy with the codes of the clean face.
        swap_quality: weight of rendering one person's content with the quality of another picture; needs
            data.swap_degradation=true.
        endpoint_probability: that a face is trained at fidelity 0, and the same at fidelity 1, in the stage fidelity;
            the others are trained at 0.5. From 0 to 0.5.
        start: where an encoder of its own (net.config.regress=false) starts without weights: expert_f = from
            Expert-F's encoder, scratch = newly initialised.
        teacher, teacher_prior: weights of another Expert-T and the prior under it, whose pictures faces of
            `taught_recipes` learn by `keep`; the others keep what the weights of `init` restore. None = no teacher.
        taught_recipes: which recipes' faces the teacher teaches.
        decoder: also train the prior's decoder, which draws what Expert-T chooses. Encoder and codebook stay frozen,
            so codes keep their meaning.
    """

    stage: Stage = "codes"
    codes: float = 0.01
    swap_quality: float = 0.5
    endpoint_probability: float = 0.2
    start: Literal["expert_f", "scratch"] = "expert_f"
    decoder: bool = False
    teacher: str | None = None
    teacher_prior: str | None = None
    taught_recipes: tuple[str, ...] = ("heavy",)

    def __post_init__(self) -> None:
        if self.stage not in ("codes", "fidelity"):
            raise ConfigError(f"model.tokens.stage: got {self.stage!r}, expected codes or fidelity")
        if not 0 <= self.endpoint_probability <= 0.5:
            raise ConfigError(f"model.tokens.endpoint_probability: got {self.endpoint_probability}, expected 0 to 0.5")
        if min(self.codes, self.swap_quality) < 0:
            raise ConfigError(
                f"model.tokens: got codes={self.codes} and swap_quality={self.swap_quality}, expected weights of 0 or "
                "more"
            )
        check_recipes(self.taught_recipes)
        if self.teacher_prior and not self.teacher:
            raise ConfigError(f"model.tokens.teacher_prior: got {self.teacher_prior} without teacher=FILE; give both")


class ExpertTModule(FaceModule):
    """Trains Expert-T.

    Args:
        net: the network.
        loss: the weighted loss of a restored face.
        tokens: the stage, and what is learned besides.
        prior, expert_f: weight files of the frozen networks; None = the released ones.
        options: fields of `TrainingConfig`. `init` may be an export of the first stage.
    """

    def __init__(
        self,
        net: ExpertT,
        loss: RestorationLoss,
        tokens: TokenConfig | None = None,
        prior: str | None = None,
        expert_f: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(net, "expert_t", loss, **options)
        self.tokens = tokens or TokenConfig()
        first = cast(ExpertF, load_network("expert_f", expert_f)[0].eval().requires_grad_(False))
        if not self.config.init and self.tokens.start == "expert_f":
            net.start_from(first)
        # In a tuple, so that they are no submodules: state, EMA and optimiser must not contain them.
        under = first if net.config.regress else None
        self._frozen = (Frozen(load_prior(prior)[0], under),)
        self._first_frozen = self._frozen[0]
        if self.tokens.decoder:
            if self._first:
                self._first_frozen = Frozen(load_prior(prior)[0], under)
            self.decoder = self.frozen.prior.decoder.requires_grad_(True)
        self._teacher: tuple[ExpertT, Frozen] | None = None
        if self.tokens.teacher:
            if not loss.weights.keep or loss.weights.cycle_spinning:
                raise ConfigError(
                    f"model.tokens.teacher: got loss.weights keep={loss.weights.keep} and "
                    f"cycle_spinning={loss.weights.cycle_spinning}, expected keep above 0 and no cycle_spinning; a "
                    "teacher teaches by keep alone"
                )
            taught = cast(ExpertT, load_network("expert_t", self.tokens.teacher)[0].eval().requires_grad_(False))
            self._teacher = taught, Frozen(load_prior(self.tokens.teacher_prior)[0], under)

    @property
    def frozen(self) -> Frozen:
        """The prior and Expert-F; of the prior the decoder may be trained."""
        return self._frozen[0]

    def on_fit_start(self) -> None:
        """Moves the frozen networks to the device."""
        super().on_fit_start()
        self._move_frozen()

    def on_validation_start(self) -> None:
        """The same, for a validation without training."""
        super().on_validation_start()
        self._move_frozen()

    def _move_frozen(self) -> None:
        taught = (self._teacher[0], *self._teacher[1]) if self._teacher else ()
        for net in (*self.frozen, *self._first_frozen, *taught):
            if net is not None:
                net.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def _default_fidelity(self) -> float:
        return 0.0 if self.tokens.stage == "codes" else 0.5

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 256, 256) in [0, 1] to (B, 3, 512, 512), at the stage's default fidelity."""
        image: Tensor = self.net(x, self.frozen, Knobs(fidelity=self._default_fidelity)).image
        return image

    def trained_parameters(self) -> list[torch.nn.Parameter]:
        """The parameters that the stage trains."""
        net = cast(ExpertT, self.net)
        if self.tokens.stage == "codes":
            net.transforms.requires_grad_(False)
            net.fidelity.requires_grad_(False)
        drawing = self.decoder.parameters() if self.tokens.decoder else ()
        return [p for p in (*net.parameters(), *drawing) if p.requires_grad]

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """One step; logs every loss."""
        net, generator, progress = cast(ExpertT, self.net), self.step_generator(), self.shared_progress()
        x, truth, sharp = to_float_tensor(batch["input"]), to_float_tensor(batch["truth"]), batch["sharp"]
        valid, unknown = valid_at_512(batch["valid"]), batch["unknown"][:, None]
        encoded = net.encode(x, self.frozen, unknown)
        tokens = net.tokenize(encoded)
        fidelity = self._sample_fidelity(len(x), generator).to(self.device)
        out = net.decode(tokens, tokens.clean, encoded, self.frozen.prior, Knobs(fidelity))
        # At fidelity 1 the target is the input itself, except for its masked pixels.
        full_fidelity = fidelity == 1
        copied = full_fidelity[:, None, None, None] & ~valid_at_512(batch["unknown"])
        target = torch.where(copied, F.interpolate(x, scale_factor=2.0, mode="bicubic"), truth)
        sharp = sharp & ~full_fidelity
        other_losses = {"scale": self.loss.scale(out.log_scale, out.image, truth, valid)}
        if self.tokens.codes:
            codes_loss = self._codes_loss(out, F.avg_pool2d(truth, 2), batch["valid"])
            other_losses["codes"] = self.tokens.codes * codes_loss
        if self.tokens.swap_quality and "swapped_input" in batch:
            other_losses["swap_quality"] = self.tokens.swap_quality * self._swap_quality_loss(tokens, encoded, batch)
        # At fidelity 1 the output must follow the input, which flickers.
        other_losses |= self.temporal_consistency(
            batch,
            out.image,
            lambda frame: cast(Tensor, net(frame, self.frozen, Knobs(fidelity), unknown).image),
            ~full_fidelity,
        )
        other_losses |= self.first_picture(
            (x, unknown),
            out.image,
            lambda moved, mask: self._first_or_teacher(moved, mask, fidelity, batch["params"]["recipe"]),
            generator,
            ~full_fidelity,
        )
        other_losses |= self.dots(batch, out.image, target, sharp, valid)
        self.log("logit_scale", net.sureness.detach().exp().mean())
        self.take_step(
            out.image,
            target,
            sharp,
            valid,
            progress,
            lambda image: self.loss(image, target, sharp, progress, generator),
            other_losses,
        )

    def _first_or_teacher(self, x: Tensor, unknown: Tensor, fidelity: Tensor, recipes: Sequence[str]) -> Tensor:
        """(B, 3, 512, 512), restored by the weights of `init`, or by the teacher where it teaches the face's recipe."""
        image = cast(Tensor, self._first[0](x, self._first_frozen, Knobs(fidelity), unknown).image)
        taught = torch.tensor([r in self.tokens.taught_recipes for r in recipes], device=x.device)
        if self._teacher is None or not taught.any():
            return image
        net, frozen = self._teacher
        image[taught] = net(x[taught], frozen, Knobs(fidelity[taught]), unknown[taught]).image.to(image.dtype)
        return image

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what an export of the prior needs, where its decoder was trained."""
        super().on_save_checkpoint(checkpoint)
        if self.tokens.decoder:
            prior = self.frozen.prior
            kept = {k: v for k, v in prior.state_dict().items() if not k.startswith(DECODER)}
            checkpoint["prior"] = {"net_config": prior.config.to_dict(), "weights": kept}

    def _sample_fidelity(self, count: int, generator: torch.Generator) -> Tensor:
        """(B,): 0 in the first stage; in the second 0, 0.5 or 1."""
        if self.tokens.stage == "codes":
            return torch.zeros(count)
        uniform, p = torch.rand(count, generator=generator), self.tokens.endpoint_probability
        return torch.where(uniform < p, 0.0, torch.where(uniform < 2 * p, 1.0, 0.5))

    def _codes_loss(self, out: ExpertTOutput, truth: Tensor, valid: Tensor) -> Tensor:
        """Cross-entropy with the codes that the prior gives the clean face; logs the accuracy.

        Cells with a pixel outside of `valid`, (B, 256, 256) bool, do not count.
        """
        with torch.no_grad():
            target = rearrange(
                self.frozen.prior.codebook.nearest(self.frozen.prior.encode(truth)[0]), "b h w k -> b k h w"
            )
        logits = out.logits.float()
        self.log("code_accuracy", (logits.detach().argmax(-1) == target).float().mean())
        valid_cells = F.avg_pool2d(valid[:, None].float(), valid.shape[-1] // target.shape[-1]) == 1
        loss = F.cross_entropy(logits.flatten(0, -2), target.flatten(), reduction="none").view(target.shape)
        return (loss * valid_cells).sum() / (valid_cells.sum() * target.shape[1]).clamp(min=1)

    def _swap_quality_loss(self, tokens: Tokens, encoded: Encoded, batch: dict[str, Any]) -> Tensor:
        """Renders every second face with the quality tokens of the next picture, and compares with a known result.

        `swapped_input` is each truth with the degradation of the next sample. So content tokens must hold the identity
        alone, and quality tokens the picture's quality alone.
        """
        net, half = cast(ExpertT, self.net), slice(None, None, 2)
        target = to_float_tensor(batch["swapped_input"][half])
        quality = tokens.quality.roll(-1, 0)[half]
        swapped = Tokens(tokens.content[half], quality, quality, cast(Any, tuple(m[half] for m in tokens.maps)))
        knobs = Knobs(fidelity=self._default_fidelity)
        out = net.decode(swapped, quality, encoded.at(half), self.frozen.prior, knobs)
        image = torch.where(batch["valid"][half][:, None], F.avg_pool2d(out.image, 2).float(), target)
        every = torch.ones(len(image), device=image.device)
        return (image - target).abs().mean() + self.loss.weights.frequency * focal_frequency(image, target, every)
