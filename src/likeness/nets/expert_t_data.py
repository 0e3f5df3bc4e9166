"""What Expert-T is configured by, reads and returns; the network is in `expert_t`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import torch.nn.functional as F
from torch import Tensor

from likeness.nets.expert_f import ExpertF
from likeness.nets.prior import Prior

LookUp = Literal["soft", "hard", "nearest"]
LOOK_UPS: tuple[LookUp, ...] = ("soft", "hard", "nearest")
GRID = 16  # edge of the content tokens' grid
CODES = 32  # edge of the codes' grid
MODULATED = (32, 64, 128)  # edges at which the decoder's features are changed


@dataclass(frozen=True)
class ExpertTConfig:
    """Size of the network, and what it can be trained without, to compare.

    Attributes:
        width: dimensions of a token.
        heads: of the attention.
        quality: quality tokens.
        read, render: blocks that read the content tokens and that render them.
        channels: of Expert-F's features at 128, 64, 32 and 16 pixels, and of an encoder of its own.
        hidden: channels inside the feature transformations at 32, 64 and 128.
        code_heads, code_width: of the prior's codebook.
        decoded: channels of the prior's decoder at 32, 64 and 128.
        regress: Expert-F goes first; False = an encoder of its own, which starts as Expert-F's, and the prior's see the
            input alone.
        split: quality tokens; False = content tokens alone.
        codebook: codes; False = continuous latents.
    """

    width: int = 192
    heads: int = 6
    quality: int = 16
    read: int = 2
    render: int = 3
    channels: tuple[int, int, int, int] = (32, 64, 128, 192)
    hidden: tuple[int, int, int] = (128, 64, 32)
    code_heads: int = 2
    code_width: int = 32
    decoded: tuple[int, int, int] = (192, 96, 48)
    regress: bool = True
    split: bool = True
    codebook: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for the JSON beside the weights."""
        return asdict(self)


class Frozen(NamedTuple):
    """The networks that Expert-T stands on and never changes."""

    prior: Prior
    expert_f: ExpertF | None


@dataclass(frozen=True)
class Knobs:
    """What a user may turn; one number for all faces, or (B,) tensors.

    Attributes:
        fidelity: 0 = the prior, 1 = the input.
        quality: 0 = the input's own look, 1 = clean.
        lookup: soft = mean of the codes by their probability, hard = the likeliest code, nearest = the code that the
            prior's encoder alone would take.
    """

    fidelity: float | Tensor = 0.5
    quality: float | Tensor = 1.0
    lookup: LookUp = "soft"


class Maps(NamedTuple):
    """Features of the input, Expert-F's or those of an own encoder.

    Attributes:
        bottom: (B, C, 16, 16), what the content tokens start from.
        given64, given32: of the way down: the input's own look, for the quality tokens.
        fine32, fine64, fine128: for codes and decoder.
    """

    bottom: Tensor
    given64: Tensor
    given32: Tensor
    fine32: Tensor
    fine64: Tensor
    fine128: Tensor


class Seen(NamedTuple):
    """What is seen in the input before anything is decided.

    Attributes:
        features: (B, D, 32, 32), the prior encoder's, of Expert-F's output or of the input itself.
        low: (B, 3, 16, 16), colour and light of the same.
        maps: features.
        unknown: (B, 1, 256, 256) bool, pixels that the picture does not show; None = none.
    """

    features: Tensor
    low: Tensor
    maps: Maps
    unknown: Tensor | None = None

    def at(self, index: slice) -> Seen:
        """The faces at `index`."""
        unknown = None if self.unknown is None else self.unknown[index]
        return Seen(self.features[index], self.low[index], Maps(*(m[index] for m in self.maps)), unknown)

    def unknown_at(self, size: int) -> Tensor | None:
        """(B, 1, size, size) bool: cells with a pixel that the picture does not show."""
        if self.unknown is None:
            return None
        return F.adaptive_max_pool2d(self.unknown.float(), size) > 0


class Reading(NamedTuple):
    """What the network reads.

    Attributes:
        content: (B, 256, width) content tokens.
        quality: (B, K, width) quality tokens of the input's own look.
        clean: (B, K, width) those that a good picture of this face would have.
        maps: features at 32, 64, 128 pixels, for the transformations.
    """

    content: Tensor
    quality: Tensor
    clean: Tensor
    maps: tuple[Tensor, Tensor, Tensor]


class ExpertTOutput(NamedTuple):
    """What the network returns.

    Attributes:
        image: (B, 3, 512, 512), about [0, 1], not clamped.
        logits: (B, heads, 32, 32, codes).
        fidelity: (B, 1, 32, 32), the map as used, 0..1.
        log_scale: (B, 1, 32, 32), natural logarithm of the Laplace scale of the error per cell.
        codes: (B, D, 32, 32), as they were drawn.
    """

    image: Tensor
    logits: Tensor
    fidelity: Tensor
    log_scale: Tensor
    codes: Tensor
