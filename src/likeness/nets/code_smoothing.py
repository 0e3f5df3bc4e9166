"""Steadiness of Expert-T over the frames of one face: pooled quality tokens, and codes that change smoothly.

Own construction. Equal frames give bit-equal results: a code moves by a fraction of its change, so without a change it
does not move.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

_TINY = 1e-12  # avoids a division by zero whose result is not used


class CodeState(NamedTuple):
    """What the last frame of a face leaves to the next one; of one face or a batch.

    Attributes:
        clean: (B, K, width), weighted mean of the clean quality tokens.
        codes: (B, D, 32, 32) of the last frame, after smoothing.
        weight: (B,) sum of the weights in `clean`; 0 = no frame yet.
    """

    clean: Tensor
    codes: Tensor
    weight: Tensor

    def of(self, face: int) -> CodeState:
        """The state of one face, still with a batch dimension."""
        return CodeState(*(part[face : face + 1] for part in self))


@dataclass(frozen=True)
class CodeSmoothing:
    """Influence of the last frame.

    Attributes:
        state: of every face of the batch.
        weights: (B,) above 0, of the present frames; sharper frames weigh more.
        pool: use the mean of the clean quality tokens over the frames.
        threshold: distance from which a code takes its new value at once. Codes are vectors of at most unit length in
            each codebook. 0 = always. A tensor () where it is an input of a graph.
    """

    state: CodeState
    weights: Tensor
    pool: bool = True
    threshold: float | Tensor = 0.0


def stack_states(states: Sequence[CodeState | None], empty: CodeState) -> CodeState:
    """The states of several faces as one batch; `empty` stands in for None."""
    parts = zip(*(state or empty for state in states), strict=True)
    return CodeState(*(torch.cat(part) for part in parts))


def pool_tokens(new: Tensor, smoothing: CodeSmoothing) -> Tensor:
    """The weighted mean of the clean tokens (B, K, width) and those of the frames before."""
    fraction = smoothing.weights / (smoothing.state.weight + smoothing.weights)
    before = smoothing.state.clean
    return before + fraction[:, None, None].to(new.dtype) * (new - before)


def smooth_codes(new: Tensor, smoothing: CodeSmoothing, heads: int) -> Tensor:
    """Codes (B, D, 32, 32) between the last frame's and the new ones.

    Of a change of length d, the fraction min(1, (d / threshold)^2) is applied: noise dies away, and a change of
    expression passes at once.

    Args:
        new: this frame's codes.
        smoothing: state and threshold.
        heads: number of codebooks; each is smoothed separately.
    """
    before = smoothing.state.codes
    change = (new - before).float()
    split = change.unflatten(1, (heads, -1))
    square = torch.as_tensor(smoothing.threshold, dtype=split.dtype, device=split.device) ** 2
    fraction = (split.square().sum(2, keepdim=True) / square.clamp(min=_TINY)).clamp(max=1)
    fraction = torch.where(square == 0, torch.ones_like(fraction), fraction)
    started = smoothing.state.weight.view(-1, 1, 1, 1, 1) > 0
    fraction = torch.where(started, fraction, torch.ones_like(fraction))
    # A fraction of 1 gives the new code to the last bit.
    moved = torch.where(
        fraction >= 1, new.unflatten(1, (heads, -1)), before.unflatten(1, (heads, -1)) + fraction * split
    )
    return moved.flatten(1, 2).to(new.dtype)
