"""SRNet: a plain super-resolution network, the baseline that the experts must beat.

The body of SRResNet without batch normalisation (Ledig et al., CVPR 2017; Lim et al., CVPRW 2017) at a quarter of the
output's size, and two pixel shuffles. It has no wavelets, Fourier units, prior or attention.

Reads (B, 3, 256, 256) RGB in [0, 1]; writes (B, 3, 512, 512). A pixel unshuffle brings the input to 128 without loss.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from likeness.errors import ConfigError


@dataclass(frozen=True)
class SRNetConfig:
    """Size of the network.

    Attributes:
        width: channels of the body.
        blocks: residual blocks of the body.
    """

    width: int = 48
    blocks: int = 8

    def __post_init__(self) -> None:
        if self.width < 1 or self.blocks < 1:
            raise ConfigError(f"srnet: got width={self.width}, blocks={self.blocks}; expected both to be 1 or more")

    def to_dict(self) -> dict[str, Any]:
        """Plain data, stored with the weights."""
        return asdict(self)


class SRNetOutput(NamedTuple):
    """What the network returns.

    Attributes:
        image: (B, 3, 512, 512), about [0, 1], not clamped.
        log_scale: always None; the network estimates no error.
    """

    image: Tensor
    log_scale: None = None


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)  # the identity at initialisation
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.second(F.relu(self.first(x)))
        return y


class SRNet(nn.Module):
    """The network; see the module's docstring."""

    def __init__(self, config: SRNetConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or SRNetConfig()
        self.enter = nn.Conv2d(12, c.width, 3, padding=1)
        self.body = nn.Sequential(*(_Block(c.width) for _ in range(c.blocks)))
        self.up256 = nn.Conv2d(c.width, 4 * c.width, 3, padding=1)
        self.up512 = nn.Conv2d(c.width, 48, 3, padding=1)
        self.leave = nn.Conv2d(12, 3, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> SRNetOutput:
        """Restores (B, 3, 256, 256) RGB in [0, 1]; at initialisation it is the bicubic enlargement."""
        features = self.enter(F.pixel_unshuffle(x - 0.5, 2))
        features = features + self.body(features)
        features = F.relu(F.pixel_shuffle(self.up256(features), 2))
        features = F.relu(F.pixel_shuffle(self.up512(features), 2))
        large = F.interpolate(x, scale_factor=2.0, mode="bicubic", align_corners=False)
        return SRNetOutput(large + self.leave(features))
