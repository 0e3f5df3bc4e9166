"""Penalty on pixel lattices, the halftone that shuffles and LPIPS leave together."""

from __future__ import annotations

import torch
from torch import Tensor

from likeness.metrics.lattice import axis_power, peak_ratios

# Power of 8-bit rounding under `axis_power`'s window: variance 1/12 of a level squared, times the window's 3/8 per
# pixel. What lies below it no file keeps, and flat crops would turn into noise what is a ratio of nothing to nothing.
_ROUNDING = 3 / 8 / 12 / 255**2


def spectral_peaks(image: Tensor, lines: slice = slice(None)) -> Tensor:
    """How far the lattice frequencies stand out of the images' spectra, in logarithms.

    The metric of the same name takes one mean spectrum, which the sharpest images rule; here every
    image's ratios count alike, for the eye finds a lattice first on the soft ones. Own construction.

    Args:
        image: (B, 3, S, S), S a multiple of 256.
        lines: which rows and columns are looked at; every fourth is a quarter of the work. Let the first
            one vary, or the others may keep their lattice.

    Returns:
        Scalar >= 0: mean over both axes and all lattice frequencies of log(mean ratio over the batch),
        0 where it is below 1.
    """
    with torch.autocast(image.device.type, enabled=False):  # three digits are too few for a spectrum
        power = axis_power(image, lines, torch.float32)
        ratios = peak_ratios(power + _ROUNDING * image.shape[-1]).mean(0)
    return ratios.log().clamp(min=0).mean()
