"""Where training faces come from: decoded crops in memory, or cartoons drawn on the fly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from likeness.data.faces import FaceRecord, valid_mask
from likeness.data.synthetic_faces import draw_face
from likeness.types import Pixels

TRUTH_SIZE, INPUT_SIZE = 512, 256  # edges of ground truth and network input, in pixels


class FaceSource(Protocol):
    """Good faces by index."""

    def __len__(self) -> int: ...

    def face(self, index: int) -> Pixels:
        """(512, 512, 3) uint8."""
        ...

    def sharp(self, index: int) -> bool:
        """Whether the face is ground truth at 512 px, not only at 256."""
        ...

    def valid(self, index: int) -> np.ndarray:
        """(256, 256) bool, True where the face is ground truth; the other pixels are mirrored."""
        ...


@dataclass(frozen=True)
class ArraySource:
    """Faces in an array (N, 512, 512, 3), usually a memory map, and their records."""

    pixels: np.ndarray
    records: Sequence[FaceRecord]

    def __len__(self) -> int:
        return len(self.pixels)

    def face(self, index: int) -> Pixels:
        """(512, 512, 3) uint8."""
        return np.asarray(self.pixels[index])

    def sharp(self, index: int) -> bool:
        """Whether the face is ground truth at 512 px."""
        return self.records[index].sharp

    def valid(self, index: int) -> np.ndarray:
        """(256, 256) bool, from the record's `valid_box`."""
        record = self.records[index]
        return valid_mask(record.valid_box, record.size, INPUT_SIZE)


@dataclass(frozen=True)
class CartoonSource:
    """`count` cartoon faces; needs no data."""

    count: int
    first_seed: int = 0

    def __len__(self) -> int:
        return self.count

    def face(self, index: int) -> Pixels:
        """(512, 512, 3) uint8."""
        return draw_face(TRUTH_SIZE, self.first_seed + index)

    def sharp(self, index: int) -> bool:
        """Always true."""
        return True

    def valid(self, index: int) -> np.ndarray:
        """(256, 256) bool, all True."""
        return valid_mask(None, TRUTH_SIZE, INPUT_SIZE)
