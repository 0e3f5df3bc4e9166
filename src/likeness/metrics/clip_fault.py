"""What is wrong with a clip above all: noise, blur, or too few pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np

from likeness.errors import InputError
from likeness.ops.color import grey
from likeness.stages.measure import noise_sigma
from likeness.types import FloatArray, Pixels

Fault = Literal["noisy", "blurry", "low_res"]
FAULTS: tuple[Fault, ...] = ("noisy", "blurry", "low_res")


@dataclass(frozen=True)
class ClipQuality:
    """Medians over frames.

    Attributes:
        noise: Immerkaer's sigma, in grey levels.
        detail: percent of the contrast lost when a frame is halved and doubled, less what noise adds to it.
        side: the frames' short side in pixels.
    """

    noise: float
    detail: float
    side: int


@dataclass(frozen=True)
class FaultBounds:
    """Where a figure begins to be a fault: a clip's class is the figure furthest beyond its bound.

    Attributes:
        noise: grey levels.
        detail: percent.
        side: pixels.
    """

    noise: float = 4.0
    detail: float = 6.0
    side: int = 240


def clip_quality(frames: Sequence[Pixels]) -> ClipQuality:
    """Measures HWC uint8 frames of one size.

    Raises:
        InputError: if there is none, or one of another size.
    """
    if not frames or len({f.shape for f in frames}) > 1:
        raise InputError(f"clip: got {len(frames)} frames of {sorted({f.shape for f in frames})}, expected one size")
    greys = [grey(f.astype(np.float32)) for f in frames]
    sigmas = [noise_sigma(g) for g in greys]
    details = [_detail(g, s) for g, s in zip(greys, sigmas, strict=True)]
    return ClipQuality(float(np.median(sigmas)), float(np.median(details)), min(frames[0].shape[:2]))


def fault(quality: ClipQuality, bounds: FaultBounds | None = None) -> Fault:
    """The class of a clip: whichever of the three is worst beside its bound."""
    b = bounds or FaultBounds()
    worse: dict[Fault, float] = {
        "noisy": quality.noise / b.noise,
        "blurry": b.detail / max(quality.detail, 0.1),
        "low_res": b.side / quality.side,
    }
    return max(FAULTS, key=worse.__getitem__)


def _detail(image: FloatArray, sigma: float) -> float:
    contrast = float(image.std())
    if contrast < 1e-3:
        return 0.0
    lost = float(np.square(image - _halved_and_doubled(image)).mean()) - _noise_lost() * sigma**2
    return 100 * math.sqrt(max(0.0, lost)) / contrast


def _halved_and_doubled(image: FloatArray) -> FloatArray:
    height, width = image.shape
    small = cv2.resize(image, (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


@lru_cache(maxsize=1)
def _noise_lost() -> float:
    """Share of white noise's variance that halving and doubling loses."""
    noise = np.random.default_rng(0).normal(0, 1, (512, 512)).astype(np.float32)
    return float(np.square(noise - _halved_and_doubled(noise)).mean())
