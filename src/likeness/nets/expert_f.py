"""Expert-F, the frequency expert: keeps what is there and adds what the input's bands lack.

A U-Net whose strides are Haar transforms (nothing is thrown away on the way down), with dense 3x3
residual blocks at 64, 32 and 16 pixels and Fourier units at the bottom. It predicts a residual on
the bicubic enlargement of its input, so an input that lacks nothing passes. Beside the image it
estimates, per cell, the scale of a Laplace distribution of its own error.

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
    ResidualBlock,
    SmallBlur,
    StrideDown,
    StrideUp,
    haar_split,
    leaky,
    zero_bias,
)

INPUT_SIZE, OUTPUT_SIZE = 256, 512
INPUT_GAIN, OUTPUT_GAIN = 4.0, 0.1  # a photograph's contrast is about 1/4, what it lacks about 1/10: unit scale inside


@dataclass(frozen=True)
class ExpertFConfig:
    """Size of the network: channels and residual blocks at 64, 32 and 16 pixels.

    Attributes:
        widths: channels at 64, 32, 16 pixels.
        encoder: residual blocks on the way down at 64, 32, 16.
        decoder: residual blocks on the way up at 32, 64.
        skips: channels of the thin skips from the input at 256 and 128 pixels.
        fourier: channels inside the Fourier units.
        wavelets: Haar bands between the sizes; False = plain strided convolutions, to compare with.
    """

    widths: tuple[int, int, int] = (64, 128, 192)
    encoder: tuple[int, int, int] = (2, 2, 4)
    decoder: tuple[int, int] = (2, 2)
    skips: tuple[int, int] = (16, 32)
    fourier: int = 64
    wavelets: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for the JSON beside the weights."""
        return asdict(self)


class ExpertFOutput(NamedTuple):
    """What the network returns.

    Attributes:
        image: (B, 3, 512, 512), about [0, 1], not clamped.
        log_scale: (B, 1, 64, 64), natural logarithm of the Laplace scale of the error per cell.
    """

    image: Tensor
    log_scale: Tensor


class ExpertFInside(NamedTuple):
    """Its features, for a network that stands on it.

    Attributes:
        encoded128, encoded64, encoded32: (B, C, S, S) of the way down: the input's own look.
        bottom: (B, C, 16, 16).
        decoded32, decoded64, decoded128, decoded256: of the way up: the restored face.
    """

    encoded128: Tensor
    encoded64: Tensor
    encoded32: Tensor
    bottom: Tensor
    decoded32: Tensor
    decoded64: Tensor
    decoded128: Tensor
    decoded256: Tensor


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(count)))


class ExpertF(nn.Module):
    """The network; see the module's text. The shapes are noted at 256 pixels of input."""

    def __init__(self, config: ExpertFConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or ExpertFConfig()
        w64, w32, w16 = c.widths
        s256, s128 = c.skips
        down, up = (HaarDown, HaarUp) if c.wavelets else (StrideDown, StrideUp)
        self.skip256 = nn.Conv2d(3, s256, 3, padding=1)
        self.skip128 = nn.Conv2d(12, s128, 3, padding=1)
        self.enter64 = down(s128, w64)
        self.down64 = _blocks(w64, c.encoder[0])
        self.enter32 = down(w64, w32)
        self.down32 = _blocks(w32, c.encoder[1])
        self.enter16 = down(w32, w16)
        half = c.encoder[2] // 2
        self.bottom = nn.Sequential(
            _blocks(w16, half),
            FourierUnit(w16, c.fourier),
            _blocks(w16, c.encoder[2] - half),
            FourierUnit(w16, c.fourier),
        )
        self.leave16 = up(w16, w32)
        self.up32 = _blocks(w32, c.decoder[0])
        self.leave32 = up(w32, w64)
        self.up64 = _blocks(w64, c.decoder[1])
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
        self._start()

    def _start(self) -> None:
        # Adam moves every weight by about the learning rate whatever its gradient, so features
        # start at unit scale: with torch's default start and inputs of +-0.5 they had about a tenth of
        # it, and most hidden units died.
        for conv in (self.skip256, self.skip128, self.up128, self.up256):
            nn.init.kaiming_normal_(conv.weight, a=SLOPE)
            zero_bias(conv)
        for leave in (self.leave64, self.leave128):
            nn.init.kaiming_normal_(leave.weight, nonlinearity="linear")
            zero_bias(leave)
        # The residual starts at zero, so training starts from the bicubic enlargement.
        nn.init.zeros_(self.leave256.weight)
        zero_bias(self.leave256)

    def forward(self, x: Tensor, shift: tuple[int, int] = (0, 0)) -> ExpertFOutput:
        """Restores (B, 3, 256, 256) RGB in [0, 1]; `shift` moves the noise of `NoiseInjection`, in training."""
        inside = self.see(x, shift)
        # The scale head reads detached features: estimating the error must not change the image.
        return ExpertFOutput(self.draw(x, inside), self.scale(inside.decoded64.detach()).float())

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The way down alone, at a half, a quarter and an eighth of the edge of (B, 3, S, S), S a multiple of 8.

        Unlike the way up, whose noise has one size, it takes faces of any size.
        """
        f128 = leaky(self.skip128(haar_split((x - 0.5) * INPUT_GAIN)))
        f64 = self.down64(self.enter64(f128))
        return f128, f64, self.down32(self.enter32(f64))

    def see(self, x: Tensor, shift: tuple[int, int] = (0, 0)) -> ExpertFInside:
        """The features of (B, 3, 256, 256); `shift` as in `forward`."""
        f256 = leaky(self.skip256((x - 0.5) * INPUT_GAIN))  # B 16 256 256
        f128, f64, f32 = self.encode(x)  # B 32 128 128, B 64 64 64, B 128 32 32
        f16 = self.bottom(self.enter16(f32))  # B 192 16 16
        g32 = self.up32(f32 + self.leave16(f16))
        g64 = self.up64(f64 + self.leave32(g32))
        # In place where the maps are large: fresh memory costs more than the sums.
        g128 = leaky(self.noise128(self.up128(F.pixel_shuffle(self.leave64(g64), 2).add_(f128)), shift))
        g256 = leaky(self.noise256(self.up256(F.pixel_shuffle(self.leave128(g128), 2).add_(f256)), shift))
        return ExpertFInside(f128, f64, f32, f16, g32, g64, g128, g256)

    def draw(self, x: Tensor, inside: ExpertFInside) -> Tensor:
        """The image of what `see` saw in `x`: (B, 3, 512, 512)."""
        residual = self.smooth512(F.pixel_shuffle(self.leave256(inside.decoded256), 2))
        return self.enlarge(x).add_(residual.float(), alpha=OUTPUT_GAIN)

    def draw_half(self, x: Tensor, inside: ExpertFInside) -> Tensor:
        """The 2 x 2 mean of `draw`, (B, 3, 256, 256), without ever drawing 512: shuffle and mean lie in the kernels."""
        residual = F.conv2d(self.leave256(inside.decoded256), self.smooth512.kernel_of_means(), padding=1)
        return self.enlarge.means(x).add_(residual.float(), alpha=OUTPUT_GAIN)


def confidence(log_scale: Tensor, half: float) -> Tensor:
    """Confidence in [0, 1] from the Laplace scale b: 1 / (1 + b / half), so it is 1/2 where b = `half`."""
    return 1 / (1 + log_scale.exp() / half)
