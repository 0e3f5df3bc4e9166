"""Streaks: fine parallel lines (hatching) on skin, which restorers invent on blurred faces.

In photographs edges, wrinkles and hair make skin about as anisotropic, but they have energy at all wavelengths. A
streak has its energy at one orientation and one wavelength.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.metrics.skin import SIDE, skin_windows

STEP = 4  # pixels between samples of the local energy, which is smooth
_MARGIN = 40  # pixels around a window: 2.6 sigma of the longest wave's filter, and the averaging after it
_FACTOR = 4 / 3  # from one wavelength of the filter bank to the next
_COMPARED = 2  # steps to the wavelengths with which a streak is compared


@dataclass(frozen=True)
class StreakRule:
    """What counts as a streak.

    Attributes:
        shortest: smallest wavelength (distance of two lines), in pixels at 512.
        count: number of wavelengths, each 4/3 of the last.
        orientations: of the filters, evenly spread over 180 degrees.
        width: sigma of a filter's Gaussian over its wavelength.
        spread: sigma of the Gaussian that averages the energy, in pixels.
        directed: smallest ratio of the strongest orientation's energy to the mean of all.
        above: smallest ratio to the energy at 16/9 and 9/16 of the wavelength at the same orientation.
        contrast: smallest amplitude of the wave, in grey levels.
    """

    shortest: float = 6.0
    count: int = 3
    orientations: int = 12
    width: float = 0.8
    spread: float = 5.0
    directed: float = 4.0
    above: float = 2.0
    contrast: float = 1.0


RULE = StreakRule()


def streaks(images: Tensor, valid: Tensor | None = None, rule: StreakRule = RULE) -> Tensor:
    """Fraction of the cheeks and the forehead that is hatched.

    Args:
        images: (B, 3, 512, 512) in [0, 1], aligned to `TEMPLATE_512`.
        valid: (B, 1, 512, 512) bool, pixels that count; None = all.
        rule: what counts as a streak.

    Returns:
        (B,) in [0, 1]; nan if no pixel of the windows is valid.

    Raises:
        InputError: if a shape or type is wrong.
    """
    hatched, counted = find_streaks(images, valid, rule)
    return hatched.flatten(1).sum(1) / counted.flatten(1).sum(1)


def find_streaks(images: Tensor, valid: Tensor | None = None, rule: StreakRule = RULE) -> tuple[Tensor, Tensor]:
    """The streaks at every fourth pixel of the windows of `skin_windows`, and the pixels that count.

    Args:
        images, valid, rule: as for `streaks`.

    Returns:
        Two (B, 3, SIDE / STEP, SIDE / STEP) bool.
    """
    grey, counted = skin_windows(images, valid, _MARGIN)
    counted = counted[..., ::STEP, ::STEP]
    energy = local_energy(grey.flatten(0, 1), rule)  # (3 B, wavelengths, orientations, h, w)
    hatched = torch.zeros_like(counted).flatten(0, 1)
    for i in range(_COMPARED, _COMPARED + rule.count):
        strongest, orientation = energy[:, i].max(1, keepdim=True)
        others = [energy[:, i + d].gather(1, orientation) for d in (-_COMPARED, _COMPARED)]
        thresholds = torch.cat(
            (*(rule.above * o for o in others), rule.directed * energy[:, i].mean(1, keepdim=True)), 1
        )
        hatched |= (strongest[:, 0] > thresholds.amax(1)) & (strongest[:, 0] > rule.contrast**2)
    return hatched.view_as(counted) & counted, counted


def local_energy(grey: Tensor, rule: StreakRule = RULE) -> Tensor:
    """Squared amplitude of waves, averaged around every fourth pixel.

    The filters are Gaussians in the spectrum, centred at a wave (Gabor filters, Daugman 1985), whose gain is 1. Their
    responses are narrow-band: a quarter of the spectrum in each direction, around the wave, contains nearly all of the
    envelope. The inverse transform of this part has one sample every fourth pixel.

    Args:
        grey: (N, S, S) with S = SIDE + 2 _MARGIN, in grey levels.
        rule: wavelengths, orientations and spreads.

    Returns:
        (N, count + 4, orientations, SIDE / STEP, SIDE / STEP), by ascending wavelength, with two more at each end.
    """
    rows, columns, gains = (t.to(grey.device) for t in _bank(grey.shape[-1], rule))
    spectrum = torch.fft.fft2(grey - grey.mean((-2, -1), keepdim=True))
    waves = torch.fft.ifft2(spectrum[:, rows[:, :, None], columns[:, None, :]] * gains) / STEP**2
    power = (waves.real.square() + waves.imag.square()).flatten(0, 1)[:, None]
    kernel = _gauss(rule.spread / STEP).to(grey.device)
    power = F.conv2d(F.conv2d(power, kernel[None, None, :, None]), kernel[None, None, None])[:, 0]
    cut = (power.shape[-1] - SIDE // STEP) // 2
    return power[:, cut:-cut, cut:-cut].unflatten(0, (len(grey), -1, rule.orientations))


@lru_cache(maxsize=4)
def _bank(side: int, rule: StreakRule) -> tuple[Tensor, Tensor, Tensor]:
    """The filters, each restricted to a part of a spectrum of `side` x `side`.

    Returns:
        Rows and columns of that part, (K, side / STEP) each, and the gains, (K, side / STEP, side / STEP). The gains
        are doubled, since a real wave has half of its amplitude at the negative frequency.
    """
    offsets = torch.fft.fftfreq(side // STEP, STEP / side).round().long()
    rows, columns, gains = [], [], []
    for i in range(-_COMPARED, rule.count + _COMPARED):
        length = rule.shortest * _FACTOR**i
        sigma = side / (2 * math.pi * rule.width * length)  # bins
        for k in range(rule.orientations):
            angle = math.pi * k / rule.orientations
            y, x = (side / length * f(angle) for f in (math.sin, math.cos))
            row, column = round(y) + offsets, round(x) + offsets
            distance = ((row - y) / sigma).square()[:, None] + ((column - x) / sigma).square()
            rows.append(row % side)
            columns.append(column % side)
            gains.append(2 * torch.exp(-0.5 * distance))
    return torch.stack(rows), torch.stack(columns), torch.stack(gains)


def _gauss(sigma: float) -> Tensor:
    """A sampled Gaussian that sums to 1."""
    radius = math.ceil(3 * sigma)
    values = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    return values / values.sum()
