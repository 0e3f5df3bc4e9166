"""Classifies clips by their main fault: noise, blur or low resolution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from likeness.errors import InputError
from likeness.ops.color import grey
from likeness.ops.quality import noise_sigma
from likeness.ops.resize import halve_and_double
from likeness.types import FloatArray, Pixels

Fault = Literal["noisy", "blurry", "low_res"]
FAULTS: tuple[Fault, ...] = ("noisy", "blurry", "low_res")


@dataclass(frozen=True)
class ClipQuality:
    """Quality of a clip, as medians over its frames.

    Attributes:
        noise: sigma by Immerkaer's estimator, in grey levels.
        detail: percent of the contrast lost when a frame is halved and doubled, without the part due to noise.
        side: short side of the frames, in pixels.
    """

    noise: float
    detail: float
    side: int


@dataclass(frozen=True)
class FaultBounds:
    """Bounds beyond which a clip has a fault. Its class is the fault with the largest ratio to its bound.

    Attributes:
        noise: largest good value, in grey levels.
        detail: smallest good value, in percent.
        side: smallest good value, in pixels.
    """

    noise: float = 4.0
    detail: float = 6.0
    side: int = 240


def clip_quality(frames: Sequence[Pixels]) -> ClipQuality:
    """Measures HWC uint8 frames of one size.

    Raises:
        InputError: if there are no frames, or frames of several sizes.
    """
    if not frames or len({f.shape for f in frames}) > 1:
        raise InputError(
            f"clip: got {len(frames)} frames of the shapes {sorted({f.shape for f in frames})}, expected one or more "
            "of one shape"
        )
    greys = [grey(f.astype(np.float32)) for f in frames]
    sigmas = [noise_sigma(g) for g in greys]
    details = [_detail(g, s) for g, s in zip(greys, sigmas, strict=True)]
    return ClipQuality(float(np.median(sigmas)), float(np.median(details)), min(frames[0].shape[:2]))


def fault(quality: ClipQuality, bounds: FaultBounds | None = None) -> Fault:
    """The fault with the largest ratio to its bound."""
    b = bounds or FaultBounds()
    ratios: dict[Fault, float] = {
        "noisy": quality.noise / b.noise,
        "blurry": b.detail / max(quality.detail, 0.1),
        "low_res": b.side / quality.side,
    }
    return max(FAULTS, key=ratios.__getitem__)


def _detail(image: FloatArray, sigma: float) -> float:
    contrast = float(image.std())
    if contrast < 1e-3:
        return 0.0
    lost = float(np.square(image - halve_and_double(image)).mean()) - _noise_fraction_lost() * sigma**2
    return 100 * math.sqrt(max(0.0, lost)) / contrast


@lru_cache(maxsize=1)
def _noise_fraction_lost() -> float:
    """Fraction of white noise's variance that is lost when a frame is halved and doubled."""
    noise = np.random.default_rng(0).normal(0, 1, (512, 512)).astype(np.float32)
    return float(np.square(noise - halve_and_double(noise)).mean())
