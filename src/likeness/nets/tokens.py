"""Content and quality tokens: what a face is, apart from what its picture looks like.

Content tokens are a grid, anchored to the places of the input: structure, identity, pose. Quality tokens are a few
learned queries without a place: texture, sharpness, surface. They are read from the features coarse to fine, each
finer reading guided by what the coarser one found.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn

from likeness.ops.geometry import feature_bumps

FEATURES = 4  # left eye, right eye, nose, mouth


class FaceBias(nn.Module):
    """Spatial attention: how much harder each head looks at eyes, nose and mouth, learned from even.

    Returns (1, heads, 1, size * size), to be added to the attention's logits; with fewer dimensions torch takes a
    slower way. The landmarks are the template's: alignment moves every face's own to them.
    """

    bumps: Tensor

    def __init__(self, heads: int, size: int) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(heads, FEATURES))
        bumps = torch.from_numpy(feature_bumps(size)).float().flatten(1)
        self.register_buffer("bumps", bumps, persistent=False)

    def forward(self) -> Tensor:
        return (self.strength @ self.bumps)[None, :, None]


class SelfBlock(nn.Module):
    """Pre-normalised self-attention and MLP of timm, (B, N, D) to the same."""

    def __init__(self, width: int, heads: int, mlp: int = 2) -> None:
        super().__init__()
        from timm.layers.attention import Attention  # here: timm loads much, and restoring without Expert-T needs none
        from timm.layers.mlp import Mlp

        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, qkv_bias=True)
        self.mlp = Mlp(width, mlp * width)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """`bias` (1, heads, 1 or N, N) is added to the logits."""
        x = x + self.attention(self.norm1(x), None if bias is None else bias.to(x.dtype))
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


class CrossBlock(nn.Module):
    """Tokens (B, N, D) ask others (B, M, E): attention, then an MLP; both added."""

    def __init__(self, width: int, heads: int, asked: int, mlp: int = 2) -> None:
        super().__init__()
        from timm.layers.mlp import Mlp

        self.norm1, self.norm2, self.norm_asked = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(asked)
        self.attention = nn.MultiheadAttention(width, heads, kdim=asked, vdim=asked, batch_first=True)
        self.mlp = Mlp(width, mlp * width)

    def forward(self, x: Tensor, others: Tensor) -> Tensor:
        keys = self.norm_asked(others)
        x = x + self.attention(self.norm1(x), keys, keys, need_weights=False)[0]
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


class ContentReader(nn.Module):
    """Features on a grid (B, C, S, S) to content tokens (B, S * S, D)."""

    def __init__(self, channels: int, width: int, heads: int, size: int, depth: int) -> None:
        super().__init__()
        self.enter = nn.Linear(channels, width)
        self.place = nn.Parameter(torch.randn(size * size, width) * 0.02)
        self.bias = FaceBias(heads, size)
        self.blocks = nn.ModuleList(SelfBlock(width, heads) for _ in range(depth))
        self.unknown = nn.Parameter(torch.zeros(width))  # stands in for what the picture does not show

    def forward(self, features: Tensor, unknown: Tensor | None = None) -> Tensor:
        """`unknown` (B, S * S) bool: cells that a learned token stands in for; None = none."""
        entered = self.enter(rearrange(features, "b c h w -> b (h w) c"))
        if unknown is not None:
            entered = torch.where(unknown[..., None], self.unknown.to(entered.dtype), entered)
        tokens = entered + self.place
        bias = self.bias()
        for block in self.blocks:
            tokens = block(tokens, bias)
        return tokens


class QualityReader(nn.Module):
    """Learned queries (B, K, D) that read the content tokens, then ever finer features."""

    def __init__(self, count: int, width: int, heads: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(count, width) * 0.5)
        self.steps = nn.ModuleList(CrossBlock(width, heads, asked) for asked in (width, *channels))

    def forward(self, content: Tensor, features: Sequence[Tensor]) -> Tensor:
        """`features` (B, C, S, S) coarse to fine, with the channels given at the start."""
        tokens = self.queries.expand(len(content), -1, -1)
        asked = [content, *(rearrange(f, "b c h w -> b (h w) c") for f in features)]
        for step, others in zip(self.steps, asked, strict=True):
            tokens = step(tokens, others)
        return tokens


class CleanQuality(nn.Module):
    """What the quality tokens of this face would be, were its picture a good one: (B, K, D) to the same.

    Starts from learned tokens of good pictures in general and asks the face which it needs.
    """

    def __init__(self, count: int, width: int, heads: int) -> None:
        super().__init__()
        self.good = nn.Parameter(torch.randn(count, width) * 0.5)
        self.ask_content = CrossBlock(width, heads, width)
        self.ask_quality = CrossBlock(width, heads, width)

    def forward(self, content: Tensor, quality: Tensor) -> Tensor:
        tokens = self.ask_content(self.good.expand(len(content), -1, -1), content)
        found: Tensor = self.ask_quality(tokens, quality)
        return found


class Renderer(nn.Module):
    """Content tokens that are to look as the quality tokens say: (B, N, D) and (B, K, D) to (B, N, D)."""

    def __init__(self, width: int, heads: int, size: int, depth: int, split: bool) -> None:
        super().__init__()
        self.bias = FaceBias(heads, size)
        self.blocks = nn.ModuleList(SelfBlock(width, heads) for _ in range(depth))
        self.asks = nn.ModuleList(CrossBlock(width, heads, width) for _ in range(depth if split else 0))

    def forward(self, content: Tensor, quality: Tensor) -> Tensor:
        bias = self.bias()
        for i, block in enumerate(self.blocks):
            if i < len(self.asks):
                content = self.asks[i](content, quality)
            content = block(content, bias)
        return content
