"""A patch discriminator: is this piece of 70 pixels real? (Isola et al., CVPR 2017, section 3.2)"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from likeness.nets.blocks import SLOPE


class Judged(NamedTuple):
    """What a discriminator returns.

    Attributes:
        scores: (B, 1, h, w), positive = real.
        features: of every layer but the last, fine to coarse, (B, C, h, w) each.
    """

    scores: Tensor
    features: tuple[Tensor, ...]


class PatchDiscriminator(nn.Module):
    """(B, 3, S, S) in [0, 1] to (B, 1, S/8 - 2, S/8 - 2) scores, positive = real.

    Spectral normalisation (Miyato et al., ICLR 2018) instead of batch statistics: a batch of eight has none worth
    the name.

    Args:
        width: channels after the first convolution, doubled by each of the two that follow.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        widths = (3, width, 2 * width, 4 * width)
        self.down = nn.ModuleList(spectral_norm(nn.Conv2d(a, b, 4, stride=2, padding=1)) for a, b in pairwise(widths))
        self.mix = spectral_norm(nn.Conv2d(4 * width, 4 * width, 4, padding=1))
        self.score = spectral_norm(nn.Conv2d(4 * width, 1, 4, padding=1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, image: Tensor) -> Judged:
        x, features = image * 2 - 1, []
        for layer in (*self.down, self.mix):
            x = F.leaky_relu(layer(x), SLOPE)
            features.append(x)
        return Judged(self.score(x), tuple(features))


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss of the discriminator (Lim & Ye 2017, eq. 9), scalar; 0 once both sides are beyond the margin."""
    return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2


def hinge_generator(fake: Tensor) -> Tensor:
    """The generator's side of the hinge loss, scalar."""
    return -fake.mean()


def feature_distance(fake: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Feature matching (Salimans et al. 2016, section 3.1; per layer as Wang et al. 2018, eq. 4), scalar.

    Args:
        fake, real: features (B, C, h, w) of the same windows, layer by layer; `real` gets no gradient.

    Returns:
        Mean absolute difference over that of the real features from 0, so that every layer counts alike.
    """
    pairs = [(f, r.detach()) for f, r in zip(fake, real, strict=True)]
    return torch.stack([(f - r).abs().mean() / r.abs().mean().clamp(min=1e-6) for f, r in pairs]).mean()


def style_distance(fake: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Distance of Gram matrices (Gatys et al. 2016, eq. 3-5), scalar: the same texture, wherever it lies.

    Args:
        fake, real: as of `feature_distance`.
    """
    pairs = [(gram(f), gram(r.detach())) for f, r in zip(fake, real, strict=True)]
    return torch.stack([(f - r).abs().mean() / r.abs().mean().clamp(min=1e-6) for f, r in pairs]).mean()


def gram(features: Tensor) -> Tensor:
    """(B, C, h, w) to the mean products of its channels, (B, C, C), in fp32."""
    with torch.autocast(features.device.type, enabled=False):
        flat = features.float().flatten(2)
        return flat @ flat.transpose(1, 2) / flat.shape[-1]


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, most: float = 1e4) -> Tensor:
    """So much that the GAN pulls as hard as the reconstruction (Esser et al. 2021, eq. 7), at most `most`.

    The paper takes both gradients at the last layer; here at the image, which needs no second backward pass.

    Args:
        reconstruction, adversarial: gradients of both losses by the same tensor.

    Returns:
        Scalar without gradient.
    """
    return (reconstruction.norm() / (adversarial.norm() + 1e-12)).clamp(0, most).detach()
