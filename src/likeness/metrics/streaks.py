"""Streaks: fine parallel lines (hatching) on skin, which restorers leave where a blurred face shows none.

Skin of photographs is about as anisotropic, by edges, wrinkles and hair; but these have energy at all wavelengths. A
streak is energy at one orientation and one wavelength.
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
_MARGIN = 40  # pixels around a window: the longest wave's filter reaches 2.6 sigma, the mean after it the rest
_FACTOR = 4 / 3  # from one wavelength of the bank to the next
_APART = 2  # steps to the wavelengths that a streak is compared with


@dataclass(frozen=True)
class StreakRule:
    """What counts as a streak.

    Attributes:
        shortest, count: distance of two lines in pixels at 512, and how many such distances, each 4/3 of the last.
        orientations: of the filters, evenly spread over half a turn.
        width: sigma of a filter's Gaussian over its wavelength.
        spread: sigma of the Gaussian over which energy is averaged, pixels.
        directed: how many times the energy of the strongest orientation must exceed the mean of all.
        above: how many times it must exceed that of waves 16/9 as long and as short at the same orientation.
        contrast: the least amplitude of the wave in grey levels.
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
    """Share of the cheeks and the forehead that is hatched.

    Args:
        images: (B, 3, 512, 512) in [0, 1], aligned to `TEMPLATE_512`.
        valid: (B, 1, 512, 512) bool, pixels that count; None: all.
        rule: what counts as a streak.

    Returns:
        (B,) in [0, 1]; nan where no pixel of the windows is valid.

    Raises:
        InputError: for another shape or type.
    """
    found, counted = find_streaks(images, valid, rule)
    return found.flatten(1).sum(1) / counted.flatten(1).sum(1)


def find_streaks(images: Tensor, valid: Tensor | None = None, rule: StreakRule = RULE) -> tuple[Tensor, Tensor]:
    """Where the streaks are in every fourth pixel of the windows of `skin_windows`, and which of these count.

    Returns:
        Two (B, 3, SIDE / STEP, SIDE / STEP) bool.
    """
    grey, counted = skin_windows(images, valid, _MARGIN)
    counted = counted[..., ::STEP, ::STEP]
    energy = local_energy(grey.flatten(0, 1), rule)  # (3 B, wavelengths, orientations, h, w)
    found = torch.zeros_like(counted).flatten(0, 1)
    for i in range(_APART, _APART + rule.count):
        strongest, at = energy[:, i].max(1, keepdim=True)
        others = [energy[:, i + d].gather(1, at) for d in (-_APART, _APART)]
        needed = torch.cat((*(rule.above * o for o in others), rule.directed * energy[:, i].mean(1, keepdim=True)), 1)
        found |= (strongest[:, 0] > needed.amax(1)) & (strongest[:, 0] > rule.contrast**2)
    return found.view_as(counted) & counted, counted


def local_energy(grey: Tensor, rule: StreakRule = RULE) -> Tensor:
    """Squared amplitude of waves, averaged around every fourth pixel.

    The filters are Gaussians in the spectrum around a wave (Gabor filters, Daugman 1985); that wave's gain is 1. Their
    answers are narrow-banded, so the part of the spectrum around the wave, a quarter of it in each direction,
    holds nearly all of their envelope, and its inverse transform has a sample every fourth pixel.

    Args:
        grey: (N, S, S) with S = SIDE + 2 _MARGIN, in grey levels.
        rule: wavelengths, orientations and spreads.

    Returns:
        (N, count + 4, orientations, SIDE / STEP, SIDE / STEP); the wavelengths ascend, with two more at each end.
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
    """Of every filter, the rows and columns of its part of a spectrum of `side`, (K, side / STEP), and its gains there.

    The gains, (K, side / STEP, side / STEP), are doubled, since a real wave has half of its amplitude at either
    frequency.
    """
    offsets = torch.fft.fftfreq(side // STEP, STEP / side).round().long()
    rows, columns, gains = [], [], []
    for i in range(-_APART, rule.count + _APART):
        length = rule.shortest * _FACTOR**i
        sigma = side / (2 * math.pi * rule.width * length)  # bins
        for k in range(rule.orientations):
            angle = math.pi * k / rule.orientations
            y, x = (side / length * f(angle) for f in (math.sin, math.cos))
            row, column = round(y) + offsets, round(x) + offsets
            away = ((row - y) / sigma).square()[:, None] + ((column - x) / sigma).square()
            rows.append(row % side)
            columns.append(column % side)
            gains.append(2 * torch.exp(-0.5 * away))
    return torch.stack(rows), torch.stack(columns), torch.stack(gains)


def _gauss(sigma: float) -> Tensor:
    """A sampled Gaussian that sums to 1."""
    radius = math.ceil(3 * sigma)
    values = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    return values / values.sum()
