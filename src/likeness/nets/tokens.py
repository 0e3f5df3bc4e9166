"""Content and quality tokens: a face's structure, separated from the quality of its picture.

Content tokens form a grid over the input and hold structure, identity and pose. Quality tokens are a few learned
queries without a position and hold texture, sharpness and surface. They attend to the features from coarse to fine.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn

from likeness.ops.geometry import feature_bumps

FEATURES = 4  # left eye, right eye, nose, mouth


class FaceBias(nn.Module):
    """A learned attention bias of each head towards eyes, nose and mouth; zero at initialisation.

    Returns (1, heads, 1, size * size), to be added to the attention's logits; with fewer dimensions torch takes a
    slower path. The positions are the template's, to which every face is aligned.
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
    """Pre-normalised self-attention and MLP of timm, (B, N, D) to the same shape."""

    def __init__(self, width: int, heads: int, mlp: int = 2) -> None:
        super().__init__()
        from timm.layers.attention import Attention  # here, since importing timm is slow and only Expert-T needs it
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
    """Cross-attention of tokens (B, N, D) to others (B, M, E), then an MLP; both residual."""

    def __init__(self, width: int, heads: int, context_width: int, mlp: int = 2) -> None:
        super().__init__()
        from timm.layers.mlp import Mlp

        self.norm1, self.norm2, self.norm_asked = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(context_width)
        self.attention = nn.MultiheadAttention(width, heads, kdim=context_width, vdim=context_width, batch_first=True)
        self.mlp = Mlp(width, mlp * width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        keys = self.norm_asked(context)
        x = x + self.attention(self.norm1(x), keys, keys, need_weights=False)[0]
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


class ContentReader(nn.Module):
    """Features (B, C, S, S) to content tokens (B, S * S, D)."""

    def __init__(self, channels: int, width: int, heads: int, size: int, depth: int) -> None:
        super().__init__()
        self.enter = nn.Linear(channels, width)
        self.place = nn.Parameter(torch.randn(size * size, width) * 0.02)
        self.bias = FaceBias(heads, size)
        self.blocks = nn.ModuleList(SelfBlock(width, heads) for _ in range(depth))
        self.unknown = nn.Parameter(torch.zeros(width))  # replaces the features of masked cells

    def forward(self, features: Tensor, unknown: Tensor | None = None) -> Tensor:
        """`unknown` (B, S * S) bool marks cells whose features a learned token replaces; None = none."""
        entered = self.enter(rearrange(features, "b c h w -> b (h w) c"))
        if unknown is not None:
            entered = torch.where(unknown[..., None], self.unknown.to(entered.dtype), entered)
        tokens = entered + self.place
        bias = self.bias()
        for block in self.blocks:
            tokens = block(tokens, bias)
        return tokens


class QualityReader(nn.Module):
    """Learned queries (B, K, D) that attend to the content tokens, then to increasingly fine features."""

    def __init__(self, count: int, width: int, heads: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(count, width) * 0.5)
        self.steps = nn.ModuleList(CrossBlock(width, heads, context_width) for context_width in (width, *channels))

    def forward(self, content: Tensor, features: Sequence[Tensor]) -> Tensor:
        """`features` (B, C, S, S) from coarse to fine, with the channels given to the constructor."""
        tokens = self.queries.expand(len(content), -1, -1)
        contexts = [content, *(rearrange(f, "b c h w -> b (h w) c") for f in features)]
        for step, context in zip(self.steps, contexts, strict=True):
            tokens = step(tokens, context)
        return tokens


class CleanQuality(nn.Module):
    """Predicts the quality tokens that a good picture of the same face would have: (B, K, D) to the same shape.

    Learned tokens of good pictures in general attend to the face's content and quality tokens.
    """

    def __init__(self, count: int, width: int, heads: int) -> None:
        super().__init__()
        self.good = nn.Parameter(torch.randn(count, width) * 0.5)
        self.ask_content = CrossBlock(width, heads, width)
        self.ask_quality = CrossBlock(width, heads, width)

    def forward(self, content: Tensor, quality: Tensor) -> Tensor:
        tokens = self.ask_content(self.good.expand(len(content), -1, -1), content)
        clean: Tensor = self.ask_quality(tokens, quality)
        return clean


class Renderer(nn.Module):
    """Content tokens (B, N, D), conditioned on quality tokens (B, K, D), to (B, N, D)."""

    def __init__(self, width: int, heads: int, size: int, depth: int) -> None:
        super().__init__()
        self.bias = FaceBias(heads, size)
        self.blocks = nn.ModuleList(SelfBlock(width, heads) for _ in range(depth))
        self.asks = nn.ModuleList(CrossBlock(width, heads, width) for _ in range(depth))

    def forward(self, content: Tensor, quality: Tensor) -> Tensor:
        bias = self.bias()
        for block, ask in zip(self.blocks, self.asks, strict=True):
            content = block(ask(content, quality), bias)
        return content
