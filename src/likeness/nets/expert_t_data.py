"""Expert-T's configuration and the typed data between its stages; the network is in `expert_t`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import torch.nn.functional as F
from torch import Tensor

from likeness.nets.expert_f import ExpertF
from likeness.nets.prior import Prior

LookUp = Literal["soft", "hard", "nearest"]
LOOK_UPS: tuple[LookUp, ...] = ("soft", "hard", "nearest")
GRID = 16  # content tokens along an edge
CODES = 32  # codes along an edge
MODULATED = (32, 64, 128)  # sizes at which the decoder's features are modulated


@dataclass(frozen=True)
class ExpertTConfig:
    """Size of the network.

    Attributes:
        width: dimensions of a token.
        heads: attention heads.
        quality: number of quality tokens.
        read, render: transformer blocks before and after the quality tokens are read.
        channels: feature channels of Expert-F, or of Expert-T's own encoder, at 128, 64, 32 and 16 pixels.
        hidden: channels inside the feature transforms at 32, 64 and 128.
        code_heads, code_width: of the prior's codebook.
        decoded: channels of the prior's decoder at 32, 64 and 128.
        regress: Expert-F runs first. False = Expert-T has an encoder of its own, initialised from Expert-F's, and the
            prior's encoder reads the input itself.
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

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for the JSON beside the weights."""
        return asdict(self)


class Frozen(NamedTuple):
    """The networks under Expert-T. They stay as they are; only the prior's decoder may be trained along."""

    prior: Prior
    expert_f: ExpertF | None


@dataclass(frozen=True)
class Knobs:
    """The user's settings: one number for all faces, or (B,) tensors.

    Attributes:
        fidelity: 0 = the prior, 1 = the input.
        quality: 0 = the input's quality, 1 = clean.
        lookup: soft = mean of the codes weighted by probability, hard = the most probable code, nearest = the code
            nearest to the feature of the prior's encoder.
    """

    fidelity: float | Tensor = 0.5
    quality: float | Tensor = 1.0
    lookup: LookUp = "soft"


class FeatureMaps(NamedTuple):
    """Features of the input, from Expert-F or from Expert-T's own encoder.

    Attributes:
        bottom: (B, C, 16, 16), the source of the content tokens.
        encoded64, encoded32: encoder features, which show the input's quality; the source of the quality tokens.
        fine32, fine64, fine128: features for the codes and the decoder.
    """

    bottom: Tensor
    encoded64: Tensor
    encoded32: Tensor
    fine32: Tensor
    fine64: Tensor
    fine128: Tensor


class Encoded(NamedTuple):
    """The input, encoded by the frozen networks.

    Attributes:
        features: (B, D, 32, 32), the prior encoder's features of Expert-F's output, or of the input itself.
        low: (B, 3, 16, 16), its colour and light.
        maps: features of the input.
        unknown: (B, 1, 256, 256) bool, masked pixels; None = none.
    """

    features: Tensor
    low: Tensor
    maps: FeatureMaps
    unknown: Tensor | None = None

    def at(self, index: slice) -> Encoded:
        """The faces at `index`."""
        unknown = None if self.unknown is None else self.unknown[index]
        return Encoded(self.features[index], self.low[index], FeatureMaps(*(m[index] for m in self.maps)), unknown)

    def unknown_at(self, size: int) -> Tensor | None:
        """(B, 1, size, size) bool: cells with at least one masked pixel."""
        if self.unknown is None:
            return None
        return F.adaptive_max_pool2d(self.unknown.float(), size) > 0


class Tokens(NamedTuple):
    """The tokens of a face.

    Attributes:
        content: (B, 256, width) content tokens.
        quality: (B, K, width) quality tokens of the input.
        clean: (B, K, width) predicted quality tokens of a good picture of the same face.
        maps: features at 32, 64 and 128 pixels, for the feature transforms.
    """

    content: Tensor
    quality: Tensor
    clean: Tensor
    maps: tuple[Tensor, Tensor, Tensor]


class ExpertTOutput(NamedTuple):
    """The network's output.

    Attributes:
        image: (B, 3, 512, 512), about [0, 1], not clamped.
        logits: (B, heads, 32, 32, codes).
        fidelity: (B, 1, 32, 32), the fidelity map in 0..1, after the setting was applied.
        log_scale: (B, 1, 32, 32), natural logarithm of the Laplace scale of the error per cell.
        codes: (B, D, 32, 32), as decoded.
    """

    image: Tensor
    logits: Tensor
    fidelity: Tensor
    log_scale: Tensor
    codes: Tensor
