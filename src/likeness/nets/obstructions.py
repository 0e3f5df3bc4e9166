"""A small network that marks what lies over a face, or over any picture: a U-Net at half the input's size.

A pixel unshuffle brings the input to half its size without loss and a pixel shuffle brings the scores back, so thin
scratches are kept while no convolution runs at full size (0.33 M weights, 0.2 G multiplications at 128 px).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likeness.errors import ConfigError

INPUT_SIZE = 128
CLASSES = ("none", "glasses", "mask", "hair", "object", "damage", "text")
_LEVELS = 4  # of the U-Net: 1/2 to 1/16 of the input


@dataclass(frozen=True)
class ObstructionNetConfig:
    """Size of the network.

    Attributes:
        widths: channels at 1/2, 1/4, 1/8 and 1/16 of the input's size, multiples of 8.
    """

    widths: tuple[int, ...] = (24, 40, 56, 80)

    def __post_init__(self) -> None:
        if len(self.widths) != _LEVELS or any(w < 8 or w % 8 for w in self.widths):
            raise ConfigError(f"obstructions: got widths={self.widths}, expected four multiples of 8")

    def to_dict(self) -> dict[str, Any]:
        """Plain data, stored with the weights."""
        return asdict(self)


class _Conv(nn.Sequential):
    """A convolution, normalised, and ReLU."""

    def __init__(self, width: int, out: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(width, out, 3, stride, padding=1, bias=False), nn.GroupNorm(8, out), nn.ReLU(inplace=True)
        )


class _Block(nn.Module):
    """Two convolutions around a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_Conv(width, width), _Conv(width, width))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.body(x)
        return y


class ObstructionNet(nn.Module):
    """The network; see the module's docstring."""

    def __init__(self, config: ObstructionNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or ObstructionNetConfig()
        widths = self.config.widths
        pairs = list(pairwise(widths))
        self.enter = _Conv(12, widths[0])
        self.encoder = nn.ModuleList(_Block(w) for w in widths)
        self.down = nn.ModuleList(_Conv(a, b, stride=2) for a, b in pairs)
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairs)
        self.decoder = nn.ModuleList(_Conv(a, a) for a, _ in pairs)
        self.leave = nn.Conv2d(widths[0], 4 * len(CLASSES), 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [0, 1], H and W multiples of 16, to scores (B, 7, H, W), in the order of `CLASSES`."""
        kept = [x := self.encoder[0](self.enter(F.pixel_unshuffle(4 * (x - 0.5), 2)))]
        for down, block in zip(self.down, self.encoder[1:], strict=True):  # type: ignore[index]
            kept.append(x := block(down(x)))
        for level in reversed(range(len(self.up))):
            larger = F.interpolate(self.up[level](x), scale_factor=2.0, mode="nearest")
            x = kept[level] + larger
            x = x + self.decoder[level](x)
        scores: Tensor = F.pixel_shuffle(self.leave(x), 2)
        return scores

    def probabilities(self, x: Tensor) -> Tensor:
        """`forward`'s scores as probabilities of the classes; they sum to 1."""
        return torch.softmax(self(x).float(), 1)
