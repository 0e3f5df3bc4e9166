"""The codebook: continuous features to codes and back.

The codes are learned by vector-quantize-pytorch (k-means initialisation, exponential averages, replacement of dead
codes). This module defines the shapes that the other networks use, and the three ways to read the codebook.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from einops import rearrange
from torch import Tensor, nn

from likeness.errors import InputError

# As fractions of the use that a code would have if all were used equally: below `DEAD` it is replaced, and starts again
# with `CREDIT`.
DEAD, CREDIT = 0.03, 0.25


class Quantised(NamedTuple):
    """What `Codebook.forward` returns.

    Attributes:
        codes: (B, D, h, w), D = heads x width; the nearest codes, with the rotation trick's gradients.
        indices: (B, h, w, heads) int64.
        commitment: scalar, the mean squared distance of the features to their codes, weighted; 0 in evaluation mode.
    """

    codes: Tensor
    indices: Tensor
    commitment: Tensor


class Codebook(nn.Module):
    """`heads` codebooks of unit vectors, each for a part of the features' channels.

    Cosine similarity in few dimensions keeps codes in use (Yu et al., ViT-VQGAN, ICLR 2022, section 3.2). Gradients
    pass the look-up by the rotation trick (Fifty et al. 2024); the codes are updated by exponential averages. With
    several processes all use the codes of the first one, which DDP broadcasts with the buffers.

    Args:
        size: codes in each codebook.
        width: dimensions of a code.
        heads: codes of each cell; two codes of 1024 have as many combinations as one of a million.
        decay: of the averages.
        commitment: weight of the commitment loss (beta of van den Oord et al. 2017, eq. 3).
    """

    def __init__(self, size: int, width: int, heads: int = 1, decay: float = 0.99, commitment: float = 0.25) -> None:
        super().__init__()
        from vector_quantize_pytorch import VectorQuantize  # here, since only the prior needs it

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
            threshold_ema_dead_code=1,  # `forward` sets it by the batch's size
            accept_image_fmap=True,
        )

    @property
    def vectors(self) -> Tensor:
        """(heads, size, width), of unit length after the k-means initialisation."""
        vectors = cast(Tensor, self.quantiser.codebook)
        return vectors if vectors.ndim == 3 else vectors[None]

    def forward(self, features: Tensor) -> Quantised:
        """Quantises (B, D, h, w). In training the first call initialises the codes by k-means; others update them."""
        if not self.training:
            indices = self.nearest(features)
            return Quantised(self.select(indices), indices, features.new_zeros(()))
        self._check(features)
        even = features.numel() / (self.heads * self.width * self.size)  # vectors of this batch for each code
        learner = self.quantiser._codebook
        learner.threshold_ema_dead_code, learner.reset_cluster_size = DEAD * even, CREDIT * even
        with torch.autocast(features.device.type, enabled=False):  # bf16 is too coarse to separate neighbouring codes
            codes, indices, commitment = self.quantiser(features.float())
        return Quantised(codes, indices if self.heads > 1 else indices[..., None], commitment)

    def nearest(self, features: Tensor) -> Tensor:
        """Indices (B, h, w, heads) of the codes with the largest cosine to (B, D, h, w); the codes are not updated."""
        self._check(features)
        parts = rearrange(features.float(), "b (k d) h w -> b h w k d", k=self.heads)
        with torch.autocast(features.device.type, enabled=False):
            return torch.einsum("bhwkd,kcd->bhwkc", parts, self.vectors).argmax(-1)

    def select(self, indices: Tensor) -> Tensor:
        """Hard look-up: (B, h, w, heads) to (B, D, h, w).

        Raises:
            InputError: if the last dimension is not the number of heads, or an index is out of range.
        """
        if indices.shape[-1] != self.heads:
            raise InputError(f"indices: got {tuple(indices.shape)}, expected (B, h, w, {self.heads})")
        if indices.numel() and (int(indices.min()) < 0 or int(indices.max()) >= self.size):
            raise InputError(
                f"indices: got {int(indices.min())} to {int(indices.max())}, expected 0 to {self.size - 1}"
            )
        vectors = torch.stack([self.vectors[k][indices[..., k]] for k in range(self.heads)], -2)
        return rearrange(vectors, "b h w k d -> b (k d) h w")

    def interpolate(self, probabilities: Tensor) -> Tensor:
        """Soft look-up: the mean of the codes, weighted by their probabilities.

        The mean of unit vectors is shorter than 1; its length tells the decoder how uncertain the choice is.

        Args:
            probabilities: (B, heads, h, w, size), with sum 1 over the codes. The codes are the last dimension, which is
                contiguous: in another order the softmax alone took longer than a convolution.

        Returns:
            (B, D, h, w).

        Raises:
            InputError: if the shape does not fit.
        """
        if probabilities.ndim != 5 or probabilities.shape[1] != self.heads or probabilities.shape[4] != self.size:
            raise InputError(
                f"probabilities: got {tuple(probabilities.shape)}, expected (B, {self.heads}, h, w, {self.size})"
            )
        with torch.autocast(probabilities.device.type, enabled=False):
            mean = torch.einsum("bkhwc,kcd->bkhwd", probabilities.float(), self.vectors)
            return rearrange(mean, "b k h w d -> b (k d) h w")

    def _check(self, features: Tensor) -> None:
        if features.ndim != 4 or features.shape[1] != self.heads * self.width:
            raise InputError(f"features: got {tuple(features.shape)}, expected (B, {self.heads * self.width}, h, w)")


class Usage(NamedTuple):
    """How evenly a codebook is used.

    Attributes:
        used: fraction of the codes that occur, smallest over the heads.
        perplexity: exp of the entropy of the codes' frequencies, smallest over the heads; from 1 (one code) to the
            codebook's size.
        alike: length of the codes' mean vector, largest over the heads; 0 = all directions, 1 = all codes are equal.
            It shows a collapse that replaced codes hide from the other two.
    """

    used: float
    perplexity: float
    alike: float


def usage(counts: Tensor, vectors: Tensor) -> Usage:
    """Usage from the counts of the codes, (heads, size), and their vectors, (heads, size, width)."""
    frequencies = counts.double() / counts.sum(1, keepdim=True).clamp(min=1)
    entropy = -(frequencies * frequencies.clamp(min=1e-12).log()).sum(1)
    alike = vectors.double().mean(1).norm(dim=1).max()
    return Usage(float((counts > 0).double().mean(1).min()), float(entropy.exp().min()), float(alike))


def count_codes(indices: Tensor, size: int) -> Tensor:
    """Counts of the codes in indices (..., heads): (heads, size) int64."""
    flat = indices.reshape(-1, indices.shape[-1])
    return torch.stack([torch.bincount(column, minlength=size) for column in flat.T])
