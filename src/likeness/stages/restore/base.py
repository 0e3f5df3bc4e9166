"""What every expert offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from likeness.types import FloatArray, Restored


class Expert(Protocol):
    """Restores aligned faces; holds no state of any picture."""

    name: str
    input_size: int
    output_size: int

    def restore(self, crops: Sequence[FloatArray]) -> list[Restored]:
        """Restores (input_size, input_size, 3) float32 crops in [0, 1] to output_size, in [0, 1]."""
        ...
