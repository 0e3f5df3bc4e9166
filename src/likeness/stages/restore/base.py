"""What every expert offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, final, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from likeness.errors import ConfigError, InputError
from likeness.nets.expert_f import confidence
from likeness.stages.restore.exposure import apply, gain, undo
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


class ExposedExpert(ABC):
    """What all experts of this package derive from: exposure is settled here, around the network. See `Expert`."""

    name: str
    input_size: int
    output_size: int
    sha256: str

    @final
    def restore(self, crops: Sequence[FloatArray], gains: Sequence[float | None] | None = None) -> list[Restored]:
        """See `Expert`; results are as bright as their crops.

        Args:
            crops: (input_size, input_size, 3) float32 in [0, 1].
            gains: of each crop's exposure; None is measured.

        Raises:
            InputError: if a crop has another shape.
        """
        return self._exposed(crops, gains or [None] * len(crops), self._restore)

    @abstractmethod
    def _restore(self, crops: Sequence[FloatArray]) -> list[Restored]:
        """Restores at least one crop of the right shape and of ordinary exposure."""

    def _exposed(
        self,
        crops: Sequence[FloatArray],
        gains: Sequence[float | None],
        network: Callable[[Sequence[FloatArray]], list[Restored]],
    ) -> list[Restored]:
        """Raises dark crops, runs `network` over all of them, and brings its images back."""
        if not crops:
            return []
        size = self.input_size
        for crop in crops:
            if crop.shape != (size, size, 3):
                raise InputError(f"{self.name}: got a crop of shape {crop.shape}, expected ({size}, {size}, 3)")
        used = [gain(crop) if known is None else known for crop, known in zip(crops, gains, strict=True)]
        made = network([apply(crop, by) for crop, by in zip(crops, used, strict=True)])
        return [
            face if by == 1 else replace(face, image=undo(face.image, crop, by))
            for face, crop, by in zip(made, crops, used, strict=True)
        ]


class ExposedFollower(ExposedExpert):
    """The same of an expert that follows faces. See `FollowingExpert`."""

    follows: bool

    @final
    def follow(self, crops: Sequence[FloatArray], befores: Sequence[Before]) -> list[Restored]:
        """See `FollowingExpert`.

        Raises:
            InputError: if a crop has another shape.
        """
        return self._exposed(crops, [b.gain for b in befores], lambda bright: self._follow(bright, befores))

    @abstractmethod
    def _follow(self, crops: Sequence[FloatArray], befores: Sequence[Before]) -> list[Restored]:
        """Like `_restore`, with what goes with each crop; every result holds its `past`."""


def stack_crops(crops: Sequence[FloatArray], device: torch.device) -> Tensor:
    """Crops (size, size, 3) of one size to (B, 3, size, size) float32 on `device`."""
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
