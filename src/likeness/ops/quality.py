"""What is wrong with a grey picture: noise, blocks, JPEG, missing detail."""

from __future__ import annotations

import math

import cv2
import numpy as np
from scipy.fft import dctn

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


BLOCKS = 160  # that suffice for the figures of compression
# Luma table of the JPEG standard (ITU-T T.81, table K.1): its 3 x 3 lowest frequencies without the mean.
_STEPS = np.array([11, 10, 12, 12, 14, 14, 13, 16])
_QUALITIES = np.arange(5, 92)  # finer steps vanish in the rounding of pixels
_SCALES = np.where(_QUALITIES < 50, 5000 / _QUALITIES, 200.0 - 2 * _QUALITIES)
_LATTICES = np.maximum(1, (_SCALES[:, None] * _STEPS + 50) // 100).astype(np.float32)  # as the IJG scales them


def block_spectra(image: FloatArray) -> FloatArray:
    """Orthonormal DCTs of blocks of 8 pixels, (N, 8, 8), at most `BLOCKS` at even steps.

    Args:
        image: HW; where the picture was a JPEG, its grid must begin at the first pixel.
    """
    rows, columns = (n // 8 for n in image.shape)
    blocks = image[: rows * 8, : columns * 8].reshape(rows, 8, columns, 8).swapaxes(1, 2).reshape(-1, 8, 8)
    return np.asarray(dctn(blocks[:: max(1, len(blocks) // BLOCKS)], axes=(1, 2), norm="ortho"), np.float32)


def high_band(spectra: FloatArray) -> float:
    """Percent of the contrast of `block_spectra` that lies in the upper half of the frequencies; 0 for flat ones."""
    power = np.square(spectra).sum(0)
    total = float(power.sum() - power[0, 0])
    upper = float(power[np.add.outer(np.arange(8), np.arange(8)) >= 8].sum())
    return 100 * math.sqrt(upper / total) if total > 1e-6 else 0.0


def jpeg_quality(spectra: FloatArray) -> int | None:
    """The IJG's JPEG quality that quantised `block_spectra` of a picture of 0..255; None without a trace.

    Quantised coefficients lie at multiples of their steps: the mean of cos(2 pi c / step) over those that are not 0 is
    near 1 for the right steps and near 0 for others.
    """
    coefficients = spectra[:, :3, :3].reshape(len(spectra), 9)[:, 1:]
    turns = coefficients / _LATTICES[:, None]
    counted = np.abs(turns) > 0.5
    total = counted.sum((1, 2))
    fits = np.where(counted, np.cos(2 * np.float32(math.pi) * turns), 0).sum((1, 2)) / np.maximum(total, 1)
    fits[total < 40] = 0
    best = int(np.argmax(fits))
    return int(_QUALITIES[best]) if fits[best] > 0.5 else None
