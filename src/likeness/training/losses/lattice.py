"""Penalty on pixel lattices: the halftone pattern that pixel shuffles and LPIPS leave."""

from __future__ import annotations

import torch
from torch import Tensor

from likeness.metrics.lattice import axis_power, peak_ratios

# Power of 8-bit rounding under `axis_power`'s window: a variance of 1/12 of a squared level, times the window's 3/8 per
# pixel. An 8-bit file holds nothing below it, and on flat crops the ratios of such small powers would be noise.
_ROUNDING = 3 / 8 / 12 / 255**2


def spectral_peaks(image: Tensor, lines: slice = slice(None)) -> Tensor:
    """Logarithm of the peaks of the images' spectra at lattice frequencies.

    The metric `lattice` uses one mean spectrum, which the sharpest images dominate. Here the ratios of all images have
    equal weights, since a lattice is most visible on soft images. Not from a paper.

    Args:
        image: (B, 3, S, S), S a multiple of 256.
        lines: rows and columns that are used; every fourth is a quarter of the work. Vary the first one from step to
            step, or the network may leave its lattice on the others.

    Returns:
        Scalar of 0 or more: mean over both axes and all lattice frequencies of log(mean ratio over the batch), where a
        ratio below 1 counts as 1.
    """
    with torch.autocast(image.device.type, enabled=False):  # bf16 is too coarse for a spectrum
        power = axis_power(image, lines, torch.float32)
        ratios = peak_ratios(power + _ROUNDING * image.shape[-1]).mean(0)
    return ratios.log().clamp(min=0).mean()
