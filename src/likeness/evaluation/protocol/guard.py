"""Runs the pipeline's identity guard on restored faces."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from likeness.stages.identity import GuardBounds, Recogniser, guard
from likeness.types import FloatArray, Profile

ACCEPTED = "accepted"  # in `Scores.values`: 1 = the guard accepts, 0 = it reduces, nan = it is undecided

# Degraded and restored faces, (B, 3, 256, 256) each, and the degraded ones' profiles to (B,) of `ACCEPTED`.
Guard = Callable[[Tensor, Tensor, Sequence[Profile]], npt.NDArray[np.float64]]


def make_guard(recogniser: Recogniser, bounds: GuardBounds) -> Guard:
    """The shipped guard with a recogniser and its bounds."""

    def accepts(degraded: FloatArray, restored: FloatArray, sharpness: float) -> float:
        verdict = guard(recogniser, degraded, restored, bounds.at(sharpness))
        return np.nan if verdict.bound is None else float(verdict.distance <= verdict.bound)

    def run(degraded: Tensor, restored: Tensor, profiles: Sequence[Profile]) -> npt.NDArray[np.float64]:
        pairs = zip(_images(degraded), _images(restored), profiles, strict=True)
        return np.array([accepts(before, after, profile.sharpness) for before, after, profile in pairs])

    return run


def _images(batch: Tensor) -> list[FloatArray]:
    return list(batch.permute(0, 2, 3, 1).cpu().numpy())
