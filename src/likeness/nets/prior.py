"""The prior: a VQGAN of good faces (Esser et al., CVPR 2021) with a separate path for colour.

With codes alone, the codebook is used up by colour and light, and greens and yellows wash out. So the low band of the
image, its 16 x 16 mean, bypasses the codes: the encoder reads the image minus the low band, and the decoder adds to it.
An expert takes the low band from its input and predicts the codes only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from likeness.nets.blocks import (
    SLOPE,
    ChannelNorm,
    HaarDown,
    HaarUp,
    SmallBlur,
    haar_split,
    leaky,
    residual_blocks,
    zero_bias,
)
from likeness.nets.vq import Codebook

INPUT_SIZE, OUTPUT_SIZE, LATENT_SIZE, LOW_SIZE = 256, 512, 32, 16
INPUT_GAIN, OUTPUT_GAIN = 6.0, 0.15  # the contrast of the image minus its low band is about 1/6

DECODER = "decoder."  # prefix of the names of the decoder's weights

Modulate = Callable[[int, Tensor], Tensor]  # (edge 32, 64 or 128; features (B, C, edge, edge)) -> the same shape


@dataclass(frozen=True)
class PriorConfig:
    """Size of the network.

    Attributes:
        codes: entries of each codebook.
        code_width: dimensions of a code.
        heads: number of codebooks; every cell has one code of each.
        widths: channels at 32, 64, 128 and 256 pixels.
        encoder: residual blocks of the encoder at 128, 64 and 32 pixels.
        decoder: residual blocks of the decoder at 32, 64 and 128 pixels.
    """

    codes: int = 1024
    code_width: int = 32
    heads: int = 2
    widths: tuple[int, int, int, int] = (192, 96, 48, 24)
    encoder: tuple[int, int, int] = (0, 1, 3)
    decoder: tuple[int, int, int] = (4, 2, 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, stored with the weights."""
        return asdict(self)


class PriorOutput(NamedTuple):
    """What the network returns.

    Attributes:
        image: (B, 3, 512, 512), about [0, 1], not clamped.
        indices: (B, 32, 32, heads) int64, the codes.
        commitment: scalar, the commitment loss.
    """

    image: Tensor
    indices: Tensor
    commitment: Tensor


def low_band(image: Tensor) -> Tensor:
    """Colour and light: the means of 16 x 16 cells, (B, 3, S, S) to (B, 3, 16, 16)."""
    return F.avg_pool2d(image, image.shape[-1] // LOW_SIZE)


def enlarge(low: Tensor, size: int) -> Tensor:
    """The low band, bilinearly enlarged to `size`."""
    return F.interpolate(low, (size, size), mode="bilinear", align_corners=False)


def _unchanged(size: int, features: Tensor) -> Tensor:
    return features


class PriorEncoder(nn.Module):
    """The image minus its low band, (B, 3, 256, 256), to features before quantisation, (B, heads x width, 32, 32)."""

    def __init__(self, c: PriorConfig) -> None:
        super().__init__()
        w32, w64, w128, _ = c.widths
        self.enter128 = nn.Conv2d(12, w128, 3, padding=1)
        self.down128 = residual_blocks(w128, c.encoder[0])
        self.enter64 = HaarDown(w128, w64)
        self.down64 = residual_blocks(w64, c.encoder[1])
        self.enter32 = HaarDown(w64, w32)
        self.down32 = residual_blocks(w32, c.encoder[2])
        self.norm = ChannelNorm(w32)
        self.leave = nn.Conv2d(w32, c.heads * c.code_width, 1)
        nn.init.kaiming_normal_(self.enter128.weight, a=SLOPE)
        nn.init.kaiming_normal_(self.leave.weight, nonlinearity="linear")
        zero_bias(self.enter128)
        zero_bias(self.leave)

    def forward(self, high: Tensor) -> Tensor:
        f128 = self.down128(leaky(self.enter128(haar_split(high * INPUT_GAIN))))
        f64 = self.down64(self.enter64(f128))
        f32 = self.down32(self.enter32(f64))
        features: Tensor = self.leave(self.norm(f32))
        return features


class PriorDecoder(nn.Module):
    """Codes and low band to the image; an expert may modulate the features at 32, 64 and 128 pixels."""

    def __init__(self, c: PriorConfig) -> None:
        super().__init__()
        w32, w64, w128, w256 = c.widths
        self.gain = c.code_width**0.5  # codes have unit length: unit variance for the convolution
        self.enter = nn.Conv2d(c.heads * c.code_width, w32, 3, padding=1)
        self.enter_low = nn.Conv2d(3, w32, 3, padding=1)
        self.up32 = residual_blocks(w32, c.decoder[0])
        self.leave32 = HaarUp(w32, w64)
        self.up64 = residual_blocks(w64, c.decoder[1])
        self.leave64 = HaarUp(w64, w128)
        self.up128 = residual_blocks(w128, c.decoder[2])
        self.leave128 = HaarUp(w128, w256)
        self.up256 = nn.Conv2d(w256, w256, 3, padding=1)
        self.leave256 = nn.Conv2d(w256, 12, 3, padding=1)
        self.smooth512 = SmallBlur()
        self._initialise()

    def _initialise(self) -> None:
        for conv in (self.enter, self.enter_low):
            nn.init.kaiming_normal_(conv.weight, nonlinearity="linear")
            zero_bias(conv)
        nn.init.kaiming_normal_(self.up256.weight, a=SLOPE)
        zero_bias(self.up256)
        # A residual of zero: training starts from the low band.
        nn.init.zeros_(self.leave256.weight)
        zero_bias(self.leave256)

    def forward(self, codes: Tensor, low: Tensor, modulate: Modulate = _unchanged) -> Tensor:
        light = (enlarge(low, LATENT_SIZE) - 0.5) * 4.0
        f32 = modulate(32, self.up32(self.enter(codes * self.gain) + self.enter_low(light)))
        f64 = modulate(64, self.up64(self.leave32(f32)))
        f128 = modulate(128, self.up128(self.leave64(f64)))
        f256 = leaky(self.up256(leaky(self.leave128(f128))))
        detail = self.smooth512(F.pixel_shuffle(self.leave256(f256), 2))
        return enlarge(low.float(), OUTPUT_SIZE).add_(detail.float(), alpha=OUTPUT_GAIN)


class Prior(nn.Module):
    """Encoder, codebook and decoder; see the module's docstring."""

    def __init__(self, config: PriorConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or PriorConfig()
        self.encoder = PriorEncoder(c)
        self.codebook = Codebook(c.codes, c.code_width, c.heads)
        self.decoder = PriorDecoder(c)

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Images to features before quantisation, and their low band.

        Args:
            image: (B, 3, 256, 256) in [0, 1].

        Returns:
            (B, D, 32, 32) and (B, 3, 16, 16).
        """
        low = low_band(image)
        features: Tensor = self.encoder(image - enlarge(low, INPUT_SIZE))
        return features, low

    def decode(self, codes: Tensor, low: Tensor, modulate: Modulate = _unchanged) -> Tensor:
        """Codes and low band to images.

        Args:
            codes: (B, D, 32, 32), code vectors from the codebook.
            low: (B, 3, 16, 16), the low band.
            modulate: changes the features at 32, 64 and 128 pixels; (edge, features) to features.

        Returns:
            (B, 3, 512, 512), not clamped.
        """
        image: Tensor = self.decoder(codes, low, modulate)
        return image

    def decode_indices(self, indices: Tensor, low: Tensor) -> Tensor:
        """Code indices (B, 32, 32, heads) and low band to (B, 3, 512, 512)."""
        return self.decode(self.codebook.select(indices), low)

    def forward(self, image: Tensor) -> PriorOutput:
        """Reconstructs (B, 3, 256, 256) RGB in [0, 1]."""
        features, low = self.encode(image)
        quantised = self.codebook(features)
        return PriorOutput(self.decode(quantised.codes, low), quantised.indices, quantised.commitment)
