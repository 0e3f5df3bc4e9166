"""Faces in batches that fit into memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from likeness.errors import MemoryExceeded
from likeness.stages.restore.base import Expert, ExposedExpert, FollowingExpert
from likeness.types import Before, FloatArray, Restored

LARGEST = 8  # faces at once; a crowd would otherwise take memory without being any faster


def restore_in_batches(
    expert: Expert, crops: Sequence[FloatArray], befores: Sequence[Before] | None = None
) -> tuple[list[Restored], int]:
    """Restores all crops, halving the batch as often as memory runs out.

    Args:
        expert: restores.
        crops: the faces.
        befores: in clips, what goes with each; None: each face for itself.

    Returns:
        The restored faces in order, and how often the batch was halved.

    Raises:
        MemoryExceeded: if a single face does not fit.
    """
    size, halved = LARGEST, 0
    done: list[Restored] = []
    while len(done) < len(crops):
        try:
            part = slice(len(done), len(done) + size)
            if befores is not None and isinstance(expert, FollowingExpert) and expert.follows:
                done += expert.follow(crops[part], befores[part])
            elif befores is not None and isinstance(expert, ExposedExpert):
                done += expert.restore(crops[part], [b.gain for b in befores[part]])
            else:
                done += expert.restore(crops[part])
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
