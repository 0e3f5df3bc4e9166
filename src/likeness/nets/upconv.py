"""waifu2x's photo network, upconv_7 (nagadomi, https://github.com/nagadomi/waifu2x): twice the size, less noise."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS = (3, 16, 32, 64, 128, 128, 256)
CONTEXT = 7  # source pixels that the network reads beyond each side of what it returns


class UpConv7(nn.Module):
    """Six 3x3 convolutions without padding, leaky ReLU 0.1, and a transposed 4x4 one of stride 2."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3) for a, b in pairwise(CHANNELS))
        self.up = nn.ConvTranspose2d(CHANNELS[-1], 3, 4, stride=2, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H + 14, W + 14) RGB in [0, 1] to (B, 3, 2 H, 2 W), about [0, 1]."""
        for conv in self.convs:
            x = F.leaky_relu_(conv(x), 0.1)
        out: Tensor = self.up(x)
        return out
