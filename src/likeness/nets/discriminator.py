"""A patch discriminator, which scores windows of 70 pixels (Isola et al., CVPR 2017, section 3.2), and the GAN loss."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from likeness.nets.blocks import SLOPE


class DiscriminatorOutput(NamedTuple):
    """What a discriminator returns.

    Attributes:
        scores: (B, 1, h, w), positive = real.
        features: (B, C, h, w) of every layer but the last, from fine to coarse.
    """

    scores: Tensor
    features: tuple[Tensor, ...]


class PatchDiscriminator(nn.Module):
    """(B, C, S, S) in [0, 1] to (B, 1, S/8 - 2, S/8 - 2) scores, positive = real.

    Spectral normalisation (Miyato et al., ICLR 2018) instead of batch normalisation, for which a batch of eight is too
    small.

    Args:
        width: channels of the first convolution; each of the two that follow doubles them.
        channels: C of the input.
    """

    def __init__(self, width: int = 32, channels: int = 3) -> None:
        super().__init__()
        widths = (channels, width, 2 * width, 4 * width)
        self.down = nn.ModuleList(spectral_norm(nn.Conv2d(a, b, 4, stride=2, padding=1)) for a, b in pairwise(widths))
        self.mix = spectral_norm(nn.Conv2d(4 * width, 4 * width, 4, padding=1))
        self.score = spectral_norm(nn.Conv2d(4 * width, 1, 4, padding=1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, image: Tensor) -> DiscriminatorOutput:
        x, features = image * 2 - 1, []
        for layer in (*self.down, self.mix):
            x = F.leaky_relu(layer(x), SLOPE)
            features.append(x)
        return DiscriminatorOutput(self.score(x), tuple(features))


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss of the discriminator (Lim & Ye 2017, eq. 9), scalar; 0 if all scores are beyond the margin."""
    return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2


def hinge_generator(fake: Tensor) -> Tensor:
    """Hinge loss of the generator, scalar."""
    return -fake.mean()


def feature_distance(fake: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Feature matching (Salimans et al. 2016, section 3.1; per layer as Wang et al. 2018, eq. 4), scalar.

    Args:
        fake, real: features (B, C, h, w) of the same windows, by layer; `real` gets no gradient.

    Returns:
        Mean absolute difference over the real features' mean absolute value, averaged over the layers.
    """
    pairs = [(f, r.detach()) for f, r in zip(fake, real, strict=True)]
    return torch.stack([(f - r).abs().mean() / r.abs().mean().clamp(min=1e-6) for f, r in pairs]).mean()


def style_distance(fake: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Distance of Gram matrices (Gatys et al. 2016, eq. 3-5), scalar: compares texture regardless of its position.

    Args:
        fake, real: as for `feature_distance`.
    """
    pairs = [(gram(f), gram(r.detach())) for f, r in zip(fake, real, strict=True)]
    return torch.stack([(f - r).abs().mean() / r.abs().mean().clamp(min=1e-6) for f, r in pairs]).mean()


def gram(features: Tensor) -> Tensor:
    """Gram matrix: the mean products of the channels, (B, C, h, w) to (B, C, C), in fp32."""
    with torch.autocast(features.device.type, enabled=False):
        flat = features.float().flatten(2)
        return flat @ flat.transpose(1, 2) / flat.shape[-1]


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, largest: float = 1e4) -> Tensor:
    """The factor that makes the GAN's gradient as large as the reconstruction's (Esser et al. 2021, eq. 7).

    The paper compares the gradients at the last layer. Here they are compared at the image, which needs no second
    backward pass.

    Args:
        reconstruction, adversarial: gradients of both losses with respect to the same tensor.
        largest: upper bound of the factor.

    Returns:
        Scalar without gradient.
    """
    return (reconstruction.norm() / (adversarial.norm() + 1e-12)).clamp(0, largest).detach()
