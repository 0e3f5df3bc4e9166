"""The contract of an expert, and the base class that settles shapes and exposure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, final

import numpy as np
from torch import Tensor

from likeness.errors import ConfigError, InputError
from likeness.nets.expert_f import confidence
from likeness.stages.restore.exposure import apply, gain, undo
from likeness.types import Conditions, FloatArray, Restored


@dataclass
class ExpertConfig:
    """Which expert restores.

    Attributes:
        name: "auto" follows the route; the name of an expert sends every face there that is restored.
        file: weights of the external network, any face restorer that spandrel loads.
        size: edge of the crops that it reads; None: 512 over its factor.
    """

    name: str = "auto"
    file: str = ""
    size: int | None = None

    def __post_init__(self) -> None:
        if (self.name == "external") != bool(self.file):
            raise ConfigError(
                f"expert: got name={self.name} and file={self.file!r}; give expert=external expert.file=FILE for an "
                "external expert, or weights.expert_f=FILE to replace our own weights"
            )
        if self.size is not None and (self.size < 64 or self.name != "external"):
            raise ConfigError(f"expert.size: got {self.size}, expected at least 64, for an external expert only")


class Expert(Protocol):
    """Restores aligned faces. It keeps nothing between calls, so threads may share it."""

    name: str
    input_size: int
    output_size: int
    sha256: str

    def restore(self, crops: Sequence[FloatArray], conditions: Sequence[Conditions] | None = None) -> list[Restored]:
        """Restores a batch of crops.

        Args:
            crops: (input_size, input_size, 3) float32 in [0, 1].
            conditions: one for each, in clips; None in photos. An expert may ignore them. One that is steady over time
                reads `Conditions.state` and returns `Restored.state`.

        Returns:
            For each crop its restored face of output_size, in [0, 1].
        """
        ...


class BaseExpert(ABC):
    """Checks shapes and normalises exposure around the network of a subclass. See `Expert`."""

    name: str
    input_size: int
    output_size: int
    sha256: str

    @final
    def restore(self, crops: Sequence[FloatArray], conditions: Sequence[Conditions] | None = None) -> list[Restored]:
        """See `Expert`. The results are as bright as their crops.

        Raises:
            InputError: if a crop has another shape.
        """
        if not crops:
            return []
        size = self.input_size
        for crop in crops:
            if crop.shape != (size, size, 3):
                raise InputError(f"{self.name}: got a crop of shape {crop.shape}, expected ({size}, {size}, 3)")
        known = [c.gain for c in conditions] if conditions else [None] * len(crops)
        gains = [gain(crop) if given is None else given for crop, given in zip(crops, known, strict=True)]
        faces = self._restore([apply(crop, by) for crop, by in zip(crops, gains, strict=True)], conditions)
        return [
            face if by == 1 else replace(face, image=undo(face.image, crop, by))
            for face, crop, by in zip(faces, crops, gains, strict=True)
        ]

    @abstractmethod
    def _restore(self, crops: Sequence[FloatArray], conditions: Sequence[Conditions] | None) -> list[Restored]:
        """Restores at least one crop of the right shape and of ordinary exposure."""


def split_faces(image: Tensor, log_scale: Tensor, half: float) -> list[Restored]:
    """A network's output, face by face.

    Args:
        image: (B, 3, S, S), about [0, 1].
        log_scale: (B, 1, h, w), logarithm of the error's Laplace scale.
        half: the scale at which confidence is 0.5.
    """
    images = image.clamp(0, 1).float().permute(0, 2, 3, 1).cpu().numpy()
    confidences = confidence(log_scale, half).float()[:, 0].cpu().numpy()
    return [Restored(np.ascontiguousarray(i), c) for i, c in zip(images, confidences, strict=True)]
