"""Specks: isolated dots on skin, which restorers invent on blurred faces.

Photographs have freckles, moles and pores, too, so the value of outputs must be compared with that of the truths.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.metrics.skin import skin_windows


@dataclass(frozen=True)
class SpeckRule:
    """What counts as a speck.

    Attributes:
        sigma: of the Laplacian of Gaussian, in pixels at 512; the response is largest for dots 2.8 sigma wide.
        deviations: smallest response in robust standard deviations of the window, so that noise and texture do not
            count.
        contrast: smallest response in grey levels, so that rounding of flat skin does not count.
        isolation: smallest ratio of the response to any other in the ring around, so that lines, edges and dense
            texture do not count.
        ring: inner and outer radius of that ring, in pixels.
    """

    sigma: float = 1.25
    deviations: float = 4.0
    contrast: float = 2.0
    isolation: float = 1.5
    ring: tuple[float, float] = (5.0, 12.0)


RULE = SpeckRule()
_PER = 10_000  # pixels
_MAD = 1.4826  # standard deviation over median absolute deviation of a Gaussian


def specks(images: Tensor, valid: Tensor | None = None, rule: SpeckRule = RULE) -> Tensor:
    """Dark and light dots on cheeks and forehead, per 10,000 pixels.

    Args:
        images: (B, 3, 512, 512) in [0, 1], aligned to `TEMPLATE_512`.
        valid: (B, 1, 512, 512) bool, pixels that count; None = all.
        rule: what counts as a speck.

    Returns:
        (B,), 0 or more; nan if no pixel of the windows is valid.

    Raises:
        InputError: if a shape or type is wrong.
    """
    specks_found, counted = find_specks(images, valid, rule)
    return _PER * specks_found.flatten(1).sum(1) / counted.flatten(1).sum(1)


def find_specks(images: Tensor, valid: Tensor | None = None, rule: SpeckRule = RULE) -> tuple[Tensor, Tensor]:
    """The specks in the windows of `skin_windows`, and the pixels that count.

    Args:
        images, valid, rule: as for `specks`.

    Returns:
        Two (B, 3, SIDE, SIDE) bool; a speck is the pixel of its strongest response.
    """
    margin = math.ceil(rule.ring[1])
    kernel = _laplacian(rule.sigma).to(images.device)
    reach = margin + kernel.shape[-1] // 2
    grey, counted = skin_windows(images, valid, reach)
    response = F.conv2d(grey.flatten(0, 1)[:, None], kernel)[:, 0].abs()  # (3 B, SIDE + 2 margin, ...)
    inner = response[:, margin:-margin, margin:-margin]
    peak = F.max_pool2d(response[:, None], 5, 1, 2)[:, 0, margin:-margin, margin:-margin]
    flat = counted.flatten(0, 1)
    deviation = _MAD * torch.where(flat, inner, torch.nan).flatten(1).nanmedian(1).values[:, None, None]
    strong = (inner == peak) & (inner > rule.deviations * deviation) & (inner > rule.contrast) & flat
    candidates = strong.nonzero()
    window, y, x = candidates.unbind(1)
    dy, dx = _ring(*rule.ring).to(images.device)
    around = response[window[:, None], margin + y[:, None] + dy, margin + x[:, None] + dx].amax(1)
    isolated = candidates[inner[window, y, x] > rule.isolation * around]
    specks_found = torch.zeros_like(flat)
    specks_found[isolated.unbind(1)] = True
    return specks_found.view_as(counted), counted


def _laplacian(sigma: float) -> Tensor:
    """(1, 1, K, K): sigma^2 times the Laplacian of a Gaussian (Lindeberg 1998), zero on flat and sloping areas."""
    radius = math.ceil(4 * sigma)
    axis = torch.arange(-radius, radius + 1, dtype=torch.float64)
    gauss = torch.exp(-0.5 * (axis / sigma) ** 2)
    gauss /= gauss.sum()
    second = (axis.square() / sigma**2 - 1) * gauss  # times sigma^2
    second -= second.mean()
    return (second[:, None] * gauss + gauss[:, None] * second)[None, None].float()


def _ring(inner: float, outer: float) -> Tensor:
    """(2, K) offsets y x of the pixels of a ring."""
    axis = torch.arange(-math.floor(outer), math.floor(outer) + 1)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    distance = torch.hypot(y.double(), x.double())
    inside = (distance >= inner) & (distance <= outer)
    return torch.stack((y[inside], x[inside]))
