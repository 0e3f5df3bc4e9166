"""The codebook: continuous features to codes and back.

The learning of the codes (k-means start, exponential averages, revival of dead codes) is vector-quantize-pytorch's.
Here stand the shapes that the other networks see, and the three ways to read the codebook.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from einops import rearrange
from torch import Tensor, nn

from likeness.errors import InputError

# A code used less than this share of its even part is dead, and comes back with a credit of that share.
DEAD, CREDIT = 0.03, 0.25


class Quantised(NamedTuple):
    """What `Codebook.forward` returns.

    Attributes:
        codes: (B, D, h, w), D = heads x width; the nearest codes, gradients as the rotation trick has them.
        indices: (B, h, w, heads) int64.
        commitment: scalar, how far the features lie from their codes; 0 outside of training.
    """

    codes: Tensor
    indices: Tensor
    commitment: Tensor


class Codebook(nn.Module):
    """`heads` codebooks of unit vectors, each for its own part of the features.

    Cosine similarity on few dimensions keeps codes in use (Yu et al., ViT-VQGAN, ICLR 2022, section 3.2).
    Gradients pass the look-up by rotation (Fifty et al. 2024), the codebook itself learns by averages. Where several
    processes train, all follow the first one's codes, which DDP hands out with the buffers.

    Args:
        size: codes in each.
        width: dimensions of a code.
        heads: how many codes describe one cell; 2 x 1024 say as much as a million in one book.
        decay: of the averages.
        commitment: weight of the commitment loss (beta of van den Oord et al. 2017, eq. 3).
    """

    def __init__(self, size: int, width: int, heads: int = 1, decay: float = 0.99, commitment: float = 0.25) -> None:
        super().__init__()
        from vector_quantize_pytorch import VectorQuantize  # here: restoring without a prior does not need it

        self.size, self.width, self.heads = size, width, heads
        self.quantiser = VectorQuantize(
            heads * width,
            size,
            codebook_dim=width,
            heads=heads,
            separate_codebook_per_head=True,
            decay=decay,
            commitment_weight=commitment,
            kmeans_init=True,
            use_cosine_sim=True,
            rotation_trick=True,
            threshold_ema_dead_code=1,  # set by every batch's size in `forward`
            accept_image_fmap=True,
        )

    @property
    def vectors(self) -> Tensor:
        """(heads, size, width), of unit length once k-means has run."""
        found = cast(Tensor, self.quantiser.codebook)
        return found if found.ndim == 3 else found[None]

    def forward(self, features: Tensor) -> Quantised:
        """Quantises (B, D, h, w); in training the first call starts the codes by k-means, later ones move them."""
        if not self.training:
            indices = self.nearest(features)
            return Quantised(self.select(indices), indices, features.new_zeros(()))
        self._check(features)
        even = features.numel() / (self.heads * self.width * self.size)  # vectors a code would get of this batch
        learner = self.quantiser._codebook
        learner.threshold_ema_dead_code, learner.reset_cluster_size = DEAD * even, CREDIT * even
        with torch.autocast(features.device.type, enabled=False):  # three digits are too few to tell neighbours apart
            codes, indices, commitment = self.quantiser(features.float())
        return Quantised(codes, indices if self.heads > 1 else indices[..., None], commitment)

    def nearest(self, features: Tensor) -> Tensor:
        """The codes nearest to (B, D, h, w) by cosine: (B, h, w, heads). Changes nothing."""
        self._check(features)
        parts = rearrange(features.float(), "b (k d) h w -> b h w k d", k=self.heads)
        with torch.autocast(features.device.type, enabled=False):
            return torch.einsum("bhwkd,kcd->bhwkc", parts, self.vectors).argmax(-1)

    def select(self, indices: Tensor) -> Tensor:
        """Hard look-up: (B, h, w, heads) to (B, D, h, w).

        Raises:
            InputError: if the last dimension is not the number of heads, or an index is no code's.
        """
        if indices.shape[-1] != self.heads:
            raise InputError(f"indices: got {tuple(indices.shape)}, expected (B, h, w, {self.heads})")
        if indices.numel() and (int(indices.min()) < 0 or int(indices.max()) >= self.size):
            raise InputError(
                f"indices: got {int(indices.min())} to {int(indices.max())}, expected 0 to {self.size - 1}"
            )
        found = torch.stack([self.vectors[k][indices[..., k]] for k in range(self.heads)], -2)
        return rearrange(found, "b h w k d -> b (k d) h w")

    def interpolate(self, shares: Tensor) -> Tensor:
        """Soft look-up: the codes' mean by their shares, (B, heads, h, w, size) to (B, D, h, w).

        The mean of unit vectors is shorter than they are: the decoder reads its length as doubt.

        Args:
            shares: of every code in its cell, from 0 up, with sum 1. The codes come last because that is how they lie
                in memory side by side; the other way round the softmax alone took longer than a convolution.

        Raises:
            InputError: if the shape does not fit.
        """
        if shares.ndim != 5 or shares.shape[1] != self.heads or shares.shape[4] != self.size:
            raise InputError(f"shares: got {tuple(shares.shape)}, expected (B, {self.heads}, h, w, {self.size})")
        with torch.autocast(shares.device.type, enabled=False):
            return rearrange(torch.einsum("bkhwc,kcd->bkhwd", shares.float(), self.vectors), "b k h w d -> b (k d) h w")

    def _check(self, features: Tensor) -> None:
        if features.ndim != 4 or features.shape[1] != self.heads * self.width:
            raise InputError(f"features: got {tuple(features.shape)}, expected (B, {self.heads * self.width}, h, w)")


class Usage(NamedTuple):
    """How evenly a codebook is used.

    Attributes:
        used: share of the codes that occur, the least over the heads.
        perplexity: exp of the entropy of the codes' frequencies, the least over the heads; 1 = one code, at
            most the codebook's size.
        alike: length of the codes' mean vector, the most over the heads; 0 = they point everywhere, 1 = all are
            the same, which revived codes hide from the other two.
    """

    used: float
    perplexity: float
    alike: float


def usage(counts: Tensor, vectors: Tensor) -> Usage:
    """From how often every code occurred, (heads, size), and the codes, (heads, size, width)."""
    shares = counts.double() / counts.sum(1, keepdim=True).clamp(min=1)
    entropy = -(shares * shares.clamp(min=1e-12).log()).sum(1)
    alike = vectors.double().mean(1).norm(dim=1).max()
    return Usage(float((counts > 0).double().mean(1).min()), float(entropy.exp().min()), float(alike))


def count_codes(indices: Tensor, size: int) -> Tensor:
    """How often every code occurs in (..., heads): (heads, size) int64."""
    flat = indices.reshape(-1, indices.shape[-1])
    return torch.stack([torch.bincount(column, minlength=size) for column in flat.T])
