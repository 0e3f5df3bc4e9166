"""What every expert offers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from likeness.errors import ConfigError
from likeness.types import FloatArray, Restored

EXPERTS = ("auto", "expert_f", "external")


@dataclass
class ExpertConfig:
    """Who restores.

    Attributes:
        name: "auto" lets the route decide; "expert_f" or "external" restores all faces that are to be restored.
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
