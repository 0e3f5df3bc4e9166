"""What is wrong with a grey picture: noise, blocks, missing detail."""

from __future__ import annotations

import math

import cv2
import numpy as np

from likeness.ops.filters import noise_response
from likeness.ops.resize import halve_and_double
from likeness.types import FloatArray

GRAIN_SIZE = 2.0  # sigma in source pixels: texture coarser than this is no grain


def noise_sigma(image: FloatArray) -> float:
    """Immerkaer's estimate of the noise in an HW image (CVIU 1996, eq. 5), in the image's units.

    The mask is blind to planes and straight ramps, so its response is mostly noise.
    """
    height, width = image.shape
    if height < 5 or width < 5:
        return 0.0
    return float(math.sqrt(math.pi / 2) / 6 * noise_response(image)[1:-1, 1:-1].mean())


def flat_noise(image: FloatArray) -> float:
    """Noise in the flattest tenth of an HW image's blocks of 16 pixels, in the image's units.

    Unlike `noise_sigma`, it does not take texture for noise: clean training faces have 0.2 grey levels on average.
    """
    rows, columns = (n // 16 for n in image.shape)
    if not rows or not columns:
        return 0.0
    response = noise_response(image)[: rows * 16, : columns * 16]
    blocks = response.reshape(rows, 16, columns, 16).mean((1, 3))
    return float(math.sqrt(math.pi / 2) / 6 * np.quantile(blocks, 0.1))


def flat_grain(image: FloatArray) -> float:
    """Standard deviation of the fine texture in the flattest twentieth of an HWC image's blocks of 8 pixels, 0..255.

    Film grain, halftone and the weave of paper are coarser than the noise that `flat_noise` sees. Blocks near black or
    white, which have no grain, do not count.
    """
    rows, columns = (n // 8 for n in image.shape[:2])
    picture = np.ascontiguousarray(image[: rows * 8, : columns * 8], np.float32)
    fine = picture - cv2.GaussianBlur(picture, (0, 0), GRAIN_SIZE)
    squares, means = (a.reshape(rows, 8, columns, 8, 3).mean((1, 3, 4)) for a in (fine * fine, picture))
    exposed = squares[(means > 16) & (means < 240)]
    return float(np.sqrt(np.quantile(exposed, 0.05))) if exposed.size else 0.0


def detail(image: FloatArray) -> float:
    """Percent of the contrast that is lost when an HW image is halved and doubled again.

    Sharp faces lose 7 to 17 percent, soft ones under 5; a flat image has none to lose.
    """
    contrast = float(image.std())
    return 100 * float((image - halve_and_double(image)).std()) / contrast if contrast > 1e-3 else 0.0


def blockiness(image: FloatArray) -> float:
    """Excess of the gradients on an 8 x 8 grid over those off it, in grey levels, at least 0.

    The grid's phase is unknown in a cut-out picture, so the strongest of the eight counts; the
    smaller of both axes is returned, because edges in one direction are no blocks.
    """
    if min(image.shape) < 24:
        return 0.0
    excess = []
    for axis in (0, 1):
        steps = np.abs(np.diff(image, axis=axis)).mean(axis=1 - axis)
        phases = np.array([steps[p::8].mean() for p in range(8)])
        best = int(phases.argmax())
        excess.append(float(phases[best] - np.delete(phases, best).mean()))
    return max(0.0, min(excess))
