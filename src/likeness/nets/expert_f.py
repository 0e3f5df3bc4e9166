"""Expert-F, the frequency expert: adds the detail that the input's frequency bands lack.

A U-Net that downsamples by Haar transforms, which are lossless, with dense 3x3 residual blocks at 64, 32 and 16 pixels
and Fourier units at the bottom. It predicts a residual to the bicubic enlargement of its input, so a good input passes
unchanged. A second head estimates, per cell, the scale of a Laplace distribution of the error.

Reads (B, 3, 256, 256) RGB in [0, 1]; writes (B, 3, 512, 512).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from likeness.nets.blocks import (
    SLOPE,
    BicubicTwice,
    FourierUnit,
    HaarDown,
    HaarUp,
    NoiseInjection,
    SmallBlur,
    haar_split,
    leaky,
    residual_blocks,
    zero_bias,
)

INPUT_SIZE, OUTPUT_SIZE = 256, 512
INPUT_GAIN, OUTPUT_GAIN = 4.0, 0.1  # a photograph's contrast is about 1/4, that of the missing detail about 1/10


@dataclass(frozen=True)
class ExpertFConfig:
    """Size of the network.

    Attributes:
        widths: channels at 64, 32 and 16 pixels.
        encoder: residual blocks of the encoder at 64, 32 and 16 pixels.
        decoder: residual blocks of the decoder at 32 and 64 pixels.
        skips: channels of the skip connections from the input at 256 and 128 pixels.
        fourier: channels inside the Fourier units.
    """

    widths: tuple[int, int, int] = (64, 128, 192)
    encoder: tuple[int, int, int] = (2, 2, 4)
    decoder: tuple[int, int] = (2, 2)
    skips: tuple[int, int] = (16, 32)
    fourier: int = 64

    def to_dict(self) -> dict[str, Any]:
        """Plain data, stored with the weights."""
        return asdict(self)


class ExpertFOutput(NamedTuple):
    """What the network returns.

    Attributes:
        image: (B, 3, 512, 512), about [0, 1], not clamped.
        log_scale: (B, 1, 64, 64), natural logarithm of the error's Laplace scale in each cell.
    """

    image: Tensor
    log_scale: Tensor


class ExpertFFeatures(NamedTuple):
    """Expert-F's features, which Expert-T reads.

    Attributes:
        encoded128, encoded64, encoded32: (B, C, S, S), the encoder's, of the degraded input.
        bottom: (B, C, 16, 16).
        decoded32, decoded64, decoded128, decoded256: (B, C, S, S), the decoder's, of the restored face.
    """

    encoded128: Tensor
    encoded64: Tensor
    encoded32: Tensor
    bottom: Tensor
    decoded32: Tensor
    decoded64: Tensor
    decoded128: Tensor
    decoded256: Tensor


class ExpertF(nn.Module):
    """The network; see the module's docstring. Comments state shapes for the default size."""

    def __init__(self, config: ExpertFConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or ExpertFConfig()
        w64, w32, w16 = c.widths
        s256, s128 = c.skips
        self.skip256 = nn.Conv2d(3, s256, 3, padding=1)
        self.skip128 = nn.Conv2d(12, s128, 3, padding=1)
        self.enter64 = HaarDown(s128, w64)
        self.down64 = residual_blocks(w64, c.encoder[0])
        self.enter32 = HaarDown(w64, w32)
        self.down32 = residual_blocks(w32, c.encoder[1])
        self.enter16 = HaarDown(w32, w16)
        half = c.encoder[2] // 2
        self.bottom = nn.Sequential(
            residual_blocks(w16, half),
            FourierUnit(w16, c.fourier),
            residual_blocks(w16, c.encoder[2] - half),
            FourierUnit(w16, c.fourier),
        )
        self.leave16 = HaarUp(w16, w32)
        self.up32 = residual_blocks(w32, c.decoder[0])
        self.leave32 = HaarUp(w32, w64)
        self.up64 = residual_blocks(w64, c.decoder[1])
        self.leave64 = nn.Conv2d(w64, 4 * s128, 1)
        self.up128 = nn.Conv2d(s128, s128, 3, padding=1)
        self.leave128 = nn.Conv2d(s128, 4 * s256, 1)
        self.up256 = nn.Conv2d(s256, s256, 3, padding=1)
        self.noise128 = NoiseInjection(s128, INPUT_SIZE // 2, seed=128)
        self.noise256 = NoiseInjection(s256, INPUT_SIZE, seed=256)
        self.leave256 = nn.Conv2d(s256, 12, 3, padding=1)
        self.enlarge = BicubicTwice()
        self.smooth512 = SmallBlur()
        self.scale = nn.Sequential(nn.Conv2d(w64, 32, 1), nn.LeakyReLU(SLOPE), nn.Conv2d(32, 1, 1))
        self._initialise()

    def _initialise(self) -> None:
        # Adam changes every weight by about the learning rate, whatever its gradient, so features must start at unit
        # scale. With torch's default and inputs of +-0.5 they had a tenth of it, and most hidden units died.
        for conv in (self.skip256, self.skip128, self.up128, self.up256):
            nn.init.kaiming_normal_(conv.weight, a=SLOPE)
            zero_bias(conv)
        for leave in (self.leave64, self.leave128):
            nn.init.kaiming_normal_(leave.weight, nonlinearity="linear")
            zero_bias(leave)
        # A residual of zero: training starts from the bicubic enlargement.
        nn.init.zeros_(self.leave256.weight)
        zero_bias(self.leave256)

    def forward(self, x: Tensor, shift: tuple[int, int] = (0, 0)) -> ExpertFOutput:
        """Restores (B, 3, 256, 256) RGB in [0, 1]; `shift` rolls the noise of `NoiseInjection`, for training."""
        features = self.extract_features(x, shift)
        # The scale head reads detached features, so that its loss does not change the image.
        return ExpertFOutput(self.decode(x, features), self.scale(features.decoded64.detach()).float())

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The encoder's features at 1/2, 1/4 and 1/8 of the edge of (B, 3, S, S), S a multiple of 8.

        It takes faces of any size; the decoder does not, since its noise has a fixed size.
        """
        f128 = leaky(self.skip128(haar_split((x - 0.5) * INPUT_GAIN)))
        f64 = self.down64(self.enter64(f128))
        return f128, f64, self.down32(self.enter32(f64))

    def extract_features(self, x: Tensor, shift: tuple[int, int] = (0, 0)) -> ExpertFFeatures:
        """The features of (B, 3, 256, 256); `shift` as in `forward`."""
        f256 = leaky(self.skip256((x - 0.5) * INPUT_GAIN))  # B 16 256 256
        f128, f64, f32 = self.encode(x)  # B 32 128 128, B 64 64 64, B 128 32 32
        f16 = self.bottom(self.enter16(f32))  # B 192 16 16
        g32 = self.up32(f32 + self.leave16(f16))
        g64 = self.up64(f64 + self.leave32(g32))
        # In place where the maps are large: allocating memory costs more than the sums.
        g128 = leaky(self.noise128(self.up128(F.pixel_shuffle(self.leave64(g64), 2).add_(f128)), shift))
        g256 = leaky(self.noise256(self.up256(F.pixel_shuffle(self.leave128(g128), 2).add_(f256)), shift))
        return ExpertFFeatures(f128, f64, f32, f16, g32, g64, g128, g256)

    def decode(self, x: Tensor, features: ExpertFFeatures) -> Tensor:
        """The image (B, 3, 512, 512) from the input `x` and its features."""
        residual = self.smooth512(F.pixel_shuffle(self.leave256(features.decoded256), 2))
        return self.enlarge(x).add_(residual.float(), alpha=OUTPUT_GAIN)

    def decode_half(self, x: Tensor, features: ExpertFFeatures) -> Tensor:
        """The 2 x 2 means of `decode`, (B, 3, 256, 256), computed at 256: the kernels contain shuffle and mean."""
        residual = F.conv2d(self.leave256(features.decoded256), self.smooth512.kernel_of_means(), padding=1)
        return self.enlarge.means(x).add_(residual.float(), alpha=OUTPUT_GAIN)


def confidence(log_scale: Tensor, half: float) -> Tensor:
    """Confidence in [0, 1] from the Laplace scale b: 1 / (1 + b / half), which is 1/2 where b = `half`."""
    return 1 / (1 + log_scale.exp() / half)
