"""What the frames of one face leave to its next one: texture estimated once, and codes that do not flip.

Own construction. Equal frames give equal results, bit for bit: what is held is moved by a share of the difference, and
where there is none it stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

_TINY = 1e-12  # stands for a threshold of 0 in a division whose result is not used


class Past(NamedTuple):
    """Of one face's frames so far, or stacked of several faces.

    Attributes:
        clean: (B, K, width) mean of its clean quality tokens, by their weights.
        codes: (B, D, 32, 32) of its last frame, as they were drawn.
        weight: (B,) sum of the weights behind `clean`; 0 = there was no frame yet.
    """

    clean: Tensor
    codes: Tensor
    weight: Tensor

    def of(self, face: int) -> Past:
        """That of one face, still with a batch dimension."""
        return Past(*(part[face : face + 1] for part in self))


@dataclass(frozen=True)
class Hold:
    """How much the past counts.

    Attributes:
        past: of every face of the batch.
        weights: (B,) above 0, of the present frames: the better the picture, the more its texture counts.
        pool: whether the clean quality tokens are the mean over the frames.
        threshold: distance at which new codes, vectors of at most unit length in each codebook, displace the old ones
            wholly; 0 = always. A tensor () where it is an input of a graph.
    """

    past: Past
    weights: Tensor
    pool: bool = True
    threshold: float | Tensor = 0.0


def stacked(pasts: Sequence[Past | None], empty: Past) -> Past:
    """One batch of the pasts of several faces; `empty` stands for those that have none."""
    found = [past or empty for past in pasts]
    return Past(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def pooled(new: Tensor, hold: Hold) -> Tensor:
    """The mean of the clean tokens (B, K, width) with those before, by the weights."""
    share = hold.weights / (hold.past.weight + hold.weights)
    before = hold.past.clean
    return before + share[:, None, None].to(new.dtype) * (new - before)


def held(new: Tensor, hold: Hold, heads: int) -> Tensor:
    """Codes (B, D, 32, 32) between the last frame's and the new ones.

    Of a distance d between them a share of (d / threshold)^2 is taken over, all of it from the threshold on: the noise
    of a cell dies away, a change of expression passes at once.

    Args:
        new: the codes that this frame would have alone.
        hold: what is held.
        heads: codebooks; each decides for itself.
    """
    before = hold.past.codes
    change = (new - before).float()
    split = change.unflatten(1, (heads, -1))
    square = torch.as_tensor(hold.threshold, dtype=split.dtype, device=split.device) ** 2
    share = (split.square().sum(2, keepdim=True) / square.clamp(min=_TINY)).clamp(max=1)
    share = torch.where(square == 0, torch.ones_like(share), share)
    share = torch.where(hold.past.weight.view(-1, 1, 1, 1, 1) > 0, share, torch.ones_like(share))
    # Taken over wholly, a code is the new one to the last bit.
    moved = torch.where(share >= 1, new.unflatten(1, (heads, -1)), before.unflatten(1, (heads, -1)) + share * split)
    return moved.flatten(1, 2).to(new.dtype)
