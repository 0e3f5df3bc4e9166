"""The GAN loss: discriminators of eyes, mouth and texture at 512 px (after GFPGAN, Wang et al. 2021, section 3.4).

Alignment puts eyes and mouth at the same place in every crop, so their windows are fixed; windows of skin, hair and
background are random. Each kind has its own discriminator, whose features also serve for feature matching and for the
style loss. They read luma: trained with RGB, Expert-F drew coloured dots of 3 to 4 px in eyes and lips. Each
adversarial gradient is scaled to the gradient of the reconstruction losses in the same windows (Esser et al. 2021, eq.
7), so that a weight has the same effect throughout the training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from likeness.errors import ConfigError
from likeness.metrics.images import luma
from likeness.nets.discriminator import (
    DiscriminatorOutput,
    PatchDiscriminator,
    adaptive_weight,
    feature_distance,
    hinge_discriminator,
    hinge_generator,
    style_distance,
)
from likeness.ops.geometry import TEMPLATE_512

OUTPUT_SIZE = 512
KINDS = ("eyes", "mouth", "texture")
MATCHED = KINDS[:2]  # by feature matching; the input does not determine where texture lies
RECEPTIVE_FIELD = 70  # of one score, in pixels
MARGIN = 40  # pixels along the border of a crop, mostly background, that texture windows leave out

Outputs = Mapping[str, tuple[DiscriminatorOutput, DiscriminatorOutput]]  # by kind: of the image, of the truth


@dataclass(frozen=True)
class GanConfig:
    """The adversarial losses.

    Attributes:
        weight: of the adversarial gradient, relative to the reconstruction's inside the windows (1 = equal). If this
            and the other two weights are 0, there are no discriminators.
        feature_matching: the same for feature matching, in the windows of eyes and mouth.
        style: the same for the Gram matrices of the features.
        start: progress (0..1) of the training from which the network is trained by the discriminators.
        head_start: progress before `start` during which only the discriminators learn.
        window: edge of a window in pixels at 512.
        texture_windows: random windows in each face.
        width: channels of each discriminator's first layer.
    """

    weight: float = 0.0
    feature_matching: float = 0.0
    style: float = 0.0
    start: float = 0.05
    head_start: float = 0.05
    window: int = 128
    texture_windows: int = 2
    width: int = 32

    def __post_init__(self) -> None:
        if min(self.weight, self.feature_matching, self.style) < 0:
            raise ConfigError(
                f"model.gan: got weight={self.weight}, feature_matching={self.feature_matching} and "
                f"style={self.style}, expected weights of 0 or more"
            )
        if not RECEPTIVE_FIELD <= self.window <= 192:
            raise ConfigError(
                f"model.gan.window: got {self.window}, expected {RECEPTIVE_FIELD} (a score's receptive field) to 192 "
                "pixels"
            )
        if self.texture_windows < 1:
            raise ConfigError(f"model.gan.texture_windows: got {self.texture_windows}, expected 1 or more")
        if not 0 <= self.head_start <= self.start <= 1:
            raise ConfigError(
                f"model.gan: got head_start={self.head_start} and start={self.start}, expected "
                "0 <= head_start <= start <= 1"
            )

    @property
    def used(self) -> bool:
        """Whether any weight is above 0."""
        return max(self.weight, self.feature_matching, self.style) > 0


class Windows:
    """The windows of one batch that the discriminators read.

    Args:
        count: faces in the batch.
        config: size and number of the windows.
        generator: source of the texture windows' corners.
    """

    def __init__(self, count: int, config: GanConfig, generator: torch.Generator) -> None:
        self.size = size = config.window
        corner_range = MARGIN, OUTPUT_SIZE - MARGIN - size + 1
        corners = torch.randint(*corner_range, (count, config.texture_windows, 2), generator=generator)
        self.texture_corners = corners.tolist()
        centres = (*TEMPLATE_512[:2], TEMPLATE_512[3:].mean(0))
        self.fixed_corners = [tuple(round(float(c)) - size // 2 for c in reversed(centre)) for centre in centres]

    def cut(self, images: Tensor) -> dict[str, Tensor]:
        """Windows of (B, C, 512, 512) by kind: (2 B, C, S, S), (B, C, S, S), (B x texture_windows, C, S, S).

        Right eyes are mirrored to look like left ones.
        """
        left, right, mouth = (self._at(images, y, x) for y, x in self.fixed_corners)
        texture = [self._at(images[i], y, x) for i, face in enumerate(self.texture_corners) for y, x in face]
        return {"eyes": torch.cat([left, right.flip(-1)]), "mouth": mouth, "texture": torch.stack(texture)}

    def mask(self, images: Tensor) -> Tensor:
        """(B, 1, 512, 512) bool, True inside a window."""
        inside = torch.zeros(len(images), 1, OUTPUT_SIZE, OUTPUT_SIZE, dtype=torch.bool, device=images.device)
        for y, x in self.fixed_corners:
            self._at(inside, y, x)[:] = True
        for i, face in enumerate(self.texture_corners):
            for y, x in face:
                self._at(inside[i], y, x)[:] = True
        return inside

    def _at(self, images: Tensor, y: int, x: int) -> Tensor:
        return images[..., y : y + self.size, x : x + self.size]


class WindowGan(nn.Module):
    """The discriminators of all kinds of windows."""

    def __init__(self, config: GanConfig) -> None:
        super().__init__()
        self.config = config
        self.kinds = nn.ModuleDict({kind: PatchDiscriminator(config.width, channels=1) for kind in KINDS})

    def compare(self, image: Tensor, truth: Tensor, windows: Windows) -> Outputs:
        """Scores and features of the windows of the luma of `image` and of `truth`, by kind.

        Args:
            image, truth: (B, 3, 512, 512) in [0, 1].
            windows: of this batch.
        """
        fake, real = (windows.cut(luma(images).unsqueeze(1)) for images in (image, truth))
        outputs = {}
        for kind, discriminator in self.kinds.items():
            both = discriminator(torch.cat([fake[kind], real[kind]]))
            scores, *features = (t.chunk(2) for t in (both.scores, *both.features))
            sides = [DiscriminatorOutput(scores[i], tuple(f[i] for f in features)) for i in (0, 1)]
            outputs[kind] = sides[0], sides[1]
        return outputs


def discriminator_loss(outputs: Outputs) -> Tensor:
    """The hinge loss of the discriminators, mean over the kinds."""
    return torch.stack([hinge_discriminator(real.scores, fake.scores) for fake, real in outputs.values()]).mean()


def generator_losses(outputs: Outputs) -> dict[str, Tensor]:
    """The network's adversarial losses, unweighted, mean over the kinds; named like their weights in `GanConfig`."""
    pairs = list(outputs.values())
    matched = [outputs[kind] for kind in MATCHED]
    return {
        "weight": _mean([hinge_generator(fake.scores) for fake, _ in pairs]),
        "feature_matching": _mean([feature_distance(fake.features, real.features) for fake, real in matched]),
        "style": _mean([style_distance(fake.features, real.features) for fake, real in pairs]),
    }


def gan_gradient(
    outputs: Outputs, image: Tensor, reconstruction: Tensor, mask: Tensor, config: GanConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """The sum of the adversarial gradients with respect to the image, each scaled to its weight.

    Args:
        outputs: of `compare` for `image`.
        image: (B, 3, 512, 512), a leaf that requires its gradient.
        reconstruction: (B, 3, 512, 512), the gradient of the other losses.
        mask: (B, 1, 512, 512) bool, the windows.
        config: the weights.

    Returns:
        (B, 3, 512, 512), and the unweighted losses by name.
    """
    inside, losses = reconstruction * mask, generator_losses(outputs)
    total = torch.zeros_like(image)
    for name, loss in losses.items():
        weight = getattr(config, name)
        if weight > 0:
            (gradient,) = torch.autograd.grad(loss, image, retain_graph=True)
            total = total + weight * adaptive_weight(inside, gradient) * gradient
    return total, {name: loss.detach() for name, loss in losses.items()}


def _mean(values: Sequence[Tensor]) -> Tensor:
    return torch.stack([v.float() for v in values]).mean()
