"""What every face detector offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from likeness.types import Faces, Pixels


class Detector(Protocol):
    """Finds faces; holds no state of any picture, so threads may share it."""

    name: str

    def detect(self, frames: Sequence[Pixels]) -> list[Faces]:
        """Faces of each HWC uint8 RGB frame, largest first; frames of one call share one size."""
        ...
