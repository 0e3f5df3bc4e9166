"""What every expert offers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from likeness.errors import ConfigError, InputError
from likeness.nets.expert_f import confidence
from likeness.types import Before, FloatArray, Restored

EXPERTS = ("auto", "expert_t", "expert_f", "external")


@dataclass
class ExpertConfig:
    """Who restores.

    Attributes:
        name: "auto" lets the route decide; "expert_t", "expert_f" or "external" restores all faces that are to be
            restored.
        weights: file of the external network, anything that spandrel can load.
        size: edge of the crops that it reads; None: 512 over its factor.
    """

    name: str = "auto"
    weights: str = ""
    size: int | None = None

    def __post_init__(self) -> None:
        if self.name not in EXPERTS:
            raise ConfigError(f"expert.name: got {self.name!r}, expected {', '.join(EXPERTS)}")
        if (self.name == "external") != bool(self.weights):
            raise ConfigError(
                f"expert: got name={self.name} and weights={self.weights!r}; an external expert needs weights=FILE, "
                "the own ones have theirs (weights.expert_f=FILE replaces them)"
            )
        if self.size is not None and (self.size < 64 or self.name != "external"):
            raise ConfigError(f"expert.size: got {self.size}, expected at least 64, for an external expert only")


class Expert(Protocol):
    """Restores aligned faces; holds no state of any picture."""

    name: str
    input_size: int
    output_size: int
    sha256: str

    def restore(self, crops: Sequence[FloatArray]) -> list[Restored]:
        """Restores (input_size, input_size, 3) float32 crops in [0, 1] to output_size, in [0, 1]."""
        ...


@runtime_checkable
class FollowingExpert(Expert, Protocol):
    """An expert that can go on from what it made of a face in the last frame."""

    follows: bool  # whether its options ask for that

    def follow(self, crops: Sequence[FloatArray], befores: Sequence[Before]) -> list[Restored]:
        """Like `restore`; every result holds the `past` of its face."""
        ...


def stack_crops(crops: Sequence[FloatArray], size: int, name: str, device: torch.device) -> Tensor:
    """Crops (size, size, 3) in [0, 1] to (B, 3, size, size) float32 on `device`.

    Raises:
        InputError: if a crop has another shape.
    """
    for crop in crops:
        if crop.shape != (size, size, 3):
            raise InputError(f"{name}: got a crop of shape {crop.shape}, expected ({size}, {size}, 3)")
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).to(device, torch.float32)


def split_faces(image: Tensor, log_scale: Tensor, half: float) -> list[Restored]:
    """What an expert's network returned, face by face.

    Args:
        image: (B, 3, S, S), about [0, 1].
        log_scale: (B, 1, h, w), logarithm of the error's Laplace scale.
        half: the scale at which confidence is one half.
    """
    images = image.clamp(0, 1).float().permute(0, 2, 3, 1).cpu().numpy()
    sure = confidence(log_scale, half).float()[:, 0].cpu().numpy()
    return [Restored(np.ascontiguousarray(i), c) for i, c in zip(images, sure, strict=True)]
