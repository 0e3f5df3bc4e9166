"""Faces in batches that fit into memory; what happens when the GPU is out of memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from likeness.errors import MemoryExceeded
from likeness.stages.restore.base import Expert
from likeness.types import Conditions, FloatArray, Restored

LARGEST = 8  # faces at once; more take memory without being faster


def restore_in_batches(
    expert: Expert, crops: Sequence[FloatArray], conditions: Sequence[Conditions] | None = None
) -> tuple[list[Restored], int]:
    """Restores all crops; halves the batch whenever memory runs out.

    Args:
        expert: restores.
        crops: the faces.
        conditions: one for each, in clips.

    Returns:
        The restored faces in order, and how often the batch was halved.

    Raises:
        MemoryExceeded: if a single face does not fit.
    """
    size, halved = LARGEST, 0
    done: list[Restored] = []
    while len(done) < len(crops):
        part = slice(len(done), len(done) + size)
        try:
            done += expert.restore(crops[part], conditions and conditions[part])
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            size = min(size, len(crops) - len(done)) // 2
            halved += 1
            if not size:
                raise MemoryExceeded(
                    f"{expert.name}: one face of {expert.input_size} px does not fit into memory "
                    f"({str(error).splitlines()[0]}); close other programs, or use device=cpu"
                ) from error
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
    return done, halved


def _is_out_of_memory(error: Exception) -> bool:
    # On the CPU torch raises a plain RuntimeError: "DefaultCPUAllocator: can't allocate memory".
    known = isinstance(error, (MemoryError, torch.OutOfMemoryError))
    return known or "can't allocate memory" in str(error) or "not enough memory" in str(error)
