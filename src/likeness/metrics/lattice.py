"""Halftone: the fine regular pattern that pixel shuffles and perceptual losses leave.

LPIPS favours such a lattice, people do not. It shows as peaks of the spectrum at the frequencies whose period
divides the networks' cell.
"""

from __future__ import annotations

import torch
from torch import Tensor

from likeness.errors import InputError
from likeness.metrics.images import check_batch, luma

CELL_256 = 8  # a cell is 8 pixels at 256 and 16 at 512: multiples of 1/8 and 1/16 cycle per pixel
NEAR, FAR = 3, 8  # neighbouring bins; nearer ones contain the peak, which the window widens


def axis_power(images: Tensor, lines: slice = slice(None), dtype: torch.dtype = torch.float64) -> Tensor:
    """Power spectrum of the luma along each axis, with a Hann window, averaged over the other axis.

    Args:
        images: (B, 3, S, S) in [0, 1].
        lines: rows and columns that are used; for a loss a few suffice.
        dtype: of the computation.

    Returns:
        (B, 2, S/2 + 1) of `dtype`: along x, then along y; bins in cycles per image.

    Raises:
        InputError: if the images are not square RGB batches.
    """
    check_batch(images)
    size = images.shape[-1]
    if images.shape[-2] != size:
        raise InputError(f"images: got {tuple(images.shape[-2:])} pixels, expected a square")
    grey = luma(images.to(dtype))
    window = torch.hann_window(size, dtype=dtype, device=grey.device)
    signals = torch.stack((grey[:, lines], grey.transpose(1, 2)[:, lines]), 1)  # (B, 2, lines, S)
    spectrum = torch.fft.rfft(signals * window)
    return (spectrum.real.square() + spectrum.imag.square()).mean(2)


def lattice(power: Tensor) -> Tensor:
    """The strongest lattice peak of a mean power spectrum: the largest of `peak_ratios`.

    Photographs have 0.75 to 1.05, visible halftone more than 2.

    Args:
        power: as for `peak_ratios`.

    Returns:
        (...,).
    """
    return peak_ratios(power).amax((-2, -1))


def peak_ratios(power: Tensor) -> Tensor:
    """Power at every lattice frequency, relative to the neighbouring frequencies.

    Args:
        power: (..., 2, S/2 + 1), usually the mean of `axis_power` over images.

    Returns:
        (..., 2, frequencies): along both axes, the power over the mean power of the bins 3 to 8 away on both sides. The
        zero frequency and the Nyquist frequency, which lack neighbours, are left out.

    Raises:
        InputError: if S is not a multiple of 256.
    """
    size = 2 * (power.shape[-1] - 1)
    if size <= 0 or size % 256 or power.shape[-2] != 2:
        raise InputError(f"power: got {tuple(power.shape)}, expected (..., 2, S/2 + 1) with S a multiple of 256")
    step = 256 // CELL_256  # bins are cycles per image, so they are the same at every size
    peaks = torch.arange(step, power.shape[-1] - FAR, step, device=power.device)
    away = torch.arange(NEAR, FAR + 1, device=power.device)
    around = peaks[:, None] + torch.cat((-away, away))  # (peaks, 12)
    return power[..., peaks] / power[..., around].mean(-1)
