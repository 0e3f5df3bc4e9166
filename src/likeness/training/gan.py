"""Discriminators of eyes, mouth and texture at 512 (after GFPGAN, Wang et al. 2021, section 3.4).

Alignment puts eyes and mouth in the same place of every crop, so their windows are fixed; windows of skin, hair and
background are drawn. Each kind has a discriminator of its own; features of the discriminators also serve for feature
matching and for the style loss. How hard each part pulls is set beside the reconstruction's gradient in the same
windows (Esser et al. 2021, eq. 7), so that a weight means the same at every stage of the training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from likeness.errors import ConfigError
from likeness.nets.discriminator import (
    Judged,
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
MATCHED = KINDS[:2]  # by their features; a texture of the truth has no place that the input could tell
SEEN_BY_ONE_SCORE = 70  # pixels
MARGIN = 40  # pixels along the border of a crop, mostly background, that no texture window takes in


@dataclass(frozen=True)
class GanConfig:
    """The adversarial part of a network's training.

    Attributes:
        weight: how hard the scores pull beside the reconstruction, inside the windows (1 = as hard); 0 and no other
            weight leaves all of this out.
        features: the same for feature matching, in the windows of eyes and mouth.
        style: the same for the Gram matrices of the features.
        start: progress (0..1) of the training from which the network follows.
        lead: how much progress before that the discriminators begin to learn.
        window: edge of a window in pixels at 512.
        textures: drawn windows in each face.
    """

    weight: float = 0.0
    features: float = 0.0
    style: float = 0.0
    start: float = 0.05
    lead: float = 0.05
    window: int = 128
    textures: int = 2

    def __post_init__(self) -> None:
        if min(self.weight, self.features, self.style) < 0 or not SEEN_BY_ONE_SCORE <= self.window <= 192:
            raise ConfigError(
                f"model.gan: got weight={self.weight}, features={self.features}, style={self.style}, "
                f"window={self.window}; expected weights from 0 up and a window of {SEEN_BY_ONE_SCORE} (what one score "
                "sees) to 192 pixels"
            )
        if self.textures < 1 or not 0 <= self.lead <= self.start <= 1:
            raise ConfigError(
                f"model.gan: got textures={self.textures}, lead={self.lead}, start={self.start}; expected at least one "
                "window, and 0 <= lead <= start <= 1"
            )

    @property
    def used(self) -> bool:
        """Whether any part has a weight."""
        return max(self.weight, self.features, self.style) > 0


class Windows:
    """Where the discriminators look, for one batch.

    Args:
        count: faces in the batch.
        config: size and number of the windows.
        generator: draws the corners of the texture windows.
    """

    def __init__(self, count: int, config: GanConfig, generator: torch.Generator) -> None:
        self.size = size = config.window
        room = MARGIN, OUTPUT_SIZE - MARGIN - size + 1
        self.corners = torch.randint(*room, (count, config.textures, 2), generator=generator).tolist()
        centres = (*TEMPLATE_512[:2], TEMPLATE_512[3:].mean(0))
        self.fixed = [tuple(round(float(c)) - size // 2 for c in reversed(centre)) for centre in centres]

    def cut(self, images: Tensor) -> dict[str, Tensor]:
        """Windows of (B, 3, 512, 512) by kind: (2 B, 3, S, S), (B, 3, S, S), (B x textures, 3, S, S).

        Right eyes are mirrored, so that all are left ones.
        """
        left, right, mouth = (self._at(images, y, x) for y, x in self.fixed)
        drawn = [self._at(images[i], y, x) for i, face in enumerate(self.corners) for y, x in face]
        return {"eyes": torch.cat([left, right.flip(-1)]), "mouth": mouth, "texture": torch.stack(drawn)}

    def cover(self, images: Tensor) -> Tensor:
        """(B, 1, 512, 512) bool: pixels inside a window."""
        inside = torch.zeros(len(images), 1, OUTPUT_SIZE, OUTPUT_SIZE, dtype=torch.bool, device=images.device)
        for y, x in self.fixed:
            self._at(inside, y, x)[:] = True
        for i, face in enumerate(self.corners):
            for y, x in face:
                self._at(inside[i], y, x)[:] = True
        return inside

    def _at(self, images: Tensor, y: int, x: int) -> Tensor:
        return images[..., y : y + self.size, x : x + self.size]


class WindowGan(nn.Module):
    """The discriminators of all kinds of windows.

    Args:
        config: see there.
        width: of each discriminator.
    """

    def __init__(self, config: GanConfig, width: int = 32) -> None:
        super().__init__()
        self.config = config
        self.kinds = nn.ModuleDict({kind: PatchDiscriminator(width) for kind in KINDS})

    def compare(self, image: Tensor, truth: Tensor, windows: Windows) -> dict[str, tuple[Judged, Judged]]:
        """Scores and features of the windows of `image` and of `truth`, by kind.

        Args:
            image, truth: (B, 3, 512, 512) in [0, 1].
            windows: of this batch.
        """
        fake, real, judged = windows.cut(image), windows.cut(truth), {}
        for kind, judge in self.kinds.items():
            both = judge(torch.cat([fake[kind], real[kind]]))
            parts = [t.chunk(2) for t in (both.scores, *both.features)]
            sides = [Judged(parts[0][i], tuple(p[i] for p in parts[1:])) for i in (0, 1)]
            judged[kind] = sides[0], sides[1]
        return judged


def discriminator_loss(judged: Mapping[str, tuple[Judged, Judged]]) -> Tensor:
    """The hinge loss of the discriminators, mean over the kinds."""
    losses = [hinge_discriminator(real.scores, fake.scores) for fake, real in judged.values()]
    return torch.stack(losses).mean()


def network_losses(judged: Mapping[str, tuple[Judged, Judged]]) -> dict[str, Tensor]:
    """The network's adversarial losses, unweighted, mean over the kinds; named as their weights in `GanConfig`."""
    pairs = list(judged.values())
    matched = [judged[kind] for kind in MATCHED]
    return {
        "weight": _mean([hinge_generator(fake.scores) for fake, _ in pairs]),
        "features": _mean([feature_distance(fake.features, real.features) for fake, real in matched]),
        "style": _mean([style_distance(fake.features, real.features) for fake, real in pairs]),
    }


def gan_pull(
    judged: Mapping[str, tuple[Judged, Judged]], image: Tensor, reconstruction: Tensor, cover: Tensor, config: GanConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """The gradient by the image of all adversarial parts, each as strong as its weight says.

    Args:
        judged: what `compare` said of `image`.
        image: (B, 3, 512, 512), a leaf that requires its gradient.
        reconstruction: gradient of the other losses by it.
        cover: (B, 1, 512, 512) bool, the windows.
        config: the weights.

    Returns:
        (B, 3, 512, 512), and the unweighted losses by name.
    """
    beside, losses = reconstruction * cover, network_losses(judged)
    pull = torch.zeros_like(image)
    for name, loss in losses.items():
        weight = getattr(config, name)
        if weight > 0:
            (gradient,) = torch.autograd.grad(loss, image, retain_graph=True)
            pull = pull + weight * adaptive_weight(beside, gradient) * gradient
    return pull, {name: loss.detach() for name, loss in losses.items()}


def _mean(values: Sequence[Tensor]) -> Tensor:
    return torch.stack([v.float() for v in values]).mean()
