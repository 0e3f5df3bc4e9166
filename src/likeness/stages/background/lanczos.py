"""Lanczos resampling."""

from __future__ import annotations

import cv2

from likeness.ops.resize import enlarge
from likeness.stages.background.base import BackgroundPlan, Progress
from likeness.types import MediaKind, Pixels


def lanczos(pixels: Pixels, factor: int) -> Pixels:
    """HWC (or HW) pixels enlarged by 1, 2 or 4; factor 1 returns an equal copy."""
    return enlarge(pixels, factor, cv2.INTER_LANCZOS4)


class Lanczos:
    """Resamples and invents nothing."""

    def plan(self, pixels: Pixels, kind: MediaKind) -> BackgroundPlan:
        """See `Background`."""
        return BackgroundPlan("lanczos", "chosen by background.name")

    def enlarge(self, pixels: Pixels, factor: int, plan: BackgroundPlan, progress: Progress | None = None) -> Pixels:
        """See `Background`."""
        return lanczos(pixels, factor)
