"""Applies sampled degradation parameters to a picture."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from likeness.data.degradations.codecs import STILL_CODECS, jpeg, to_uint8
from likeness.data.degradations.film import render_film_frame
from likeness.data.degradations.recipes import DegradationParams, sample_params
from likeness.types import Pixels

KERNEL_SIZE = 21


def degrade(image: Pixels, recipe: str, rng: np.random.Generator) -> tuple[Pixels, dict[str, Any]]:
    """Samples parameters of a recipe and applies them.

    Args:
        image: HWC uint8 RGB, not changed.
        recipe: name of the recipe, or "clean".
        rng: source of the parameters and of the noise.

    Returns:
        HWC uint8 of the same size, and the parameters.

    Raises:
        ConfigError: if the recipe is unknown.

    Examples:
        >>> from likeness.data.synthetic_faces import draw_face
        >>> face = draw_face(256, seed=0)
        >>> first, params = degrade(face, "heavy", np.random.default_rng(7))
        >>> again, _ = degrade(face, "heavy", np.random.default_rng(7))
        >>> params["recipe"], bool((first == again).all())
        ('heavy', True)
    """
    params = sample_params(recipe, rng)
    return apply_degradation(image, params, rng), params.to_dict()


def apply_degradation(image: Pixels, params: DegradationParams, rng: np.random.Generator) -> Pixels:
    """Degrades a picture.

    Args:
        image: HWC uint8 RGB (or float32 on the 0..255 scale), not changed.
        params: the sampled parameters.
        rng: source of the noise alone.

    Returns:
        HWC uint8 of the same size.
    """
    height, width = image.shape[:2]
    out: npt.NDArray[Any] = image.astype(np.float32)
    if params.recipe != "clean":
        kernel = gaussian_kernel(params.sigma, params.kernel_ratio, params.angle)
        out = cv2.filter2D(out, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
        small = (max(1, round(width / params.shrink)), max(1, round(height / params.shrink)))
        out = cv2.resize(out, small, interpolation=cv2.INTER_AREA if params.area else cv2.INTER_LINEAR)
        if params.codec == "film":
            out = render_film_frame(out, params, rng).astype(np.float32)
        else:
            out = out + rng.normal(0, params.noise, out.shape).astype(np.float32)
            out = jpeg(to_uint8(out), params.jpeg).astype(np.float32)
        if params.shrink_2:
            out = _apply_second_order(out, params, rng)
        out = cv2.resize(out, (width, height), interpolation=cv2.INTER_CUBIC)
    pixels = to_uint8(out)
    if params.codec in STILL_CODECS:
        return STILL_CODECS[params.codec].roundtrip(pixels, params.codec_level)
    return pixels


def _apply_second_order(
    small: npt.NDArray[Any], params: DegradationParams, rng: np.random.Generator
) -> npt.NDArray[Any]:
    out = cv2.GaussianBlur(small, (0, 0), params.sigma_2, borderType=cv2.BORDER_REFLECT_101)
    height, width = (max(8, round(side / params.shrink_2)) for side in small.shape[:2])
    out = cv2.resize(out, (width, height), interpolation=cv2.INTER_AREA if params.shrink_2 > 1 else cv2.INTER_LINEAR)
    noisy = out + rng.normal(0, params.noise_2, out.shape)
    return jpeg(to_uint8(noisy), params.jpeg_2).astype(np.float32)


def gaussian_kernel(sigma: float, ratio: float, angle: float, size: int = KERNEL_SIZE) -> npt.NDArray[np.float32]:
    """An anisotropic Gaussian that sums to 1.

    Args:
        sigma: along the long axis, in pixels.
        ratio: sigma along the short axis over `sigma`.
        angle: of the long axis, in degrees.
        size: edge of the kernel in pixels.

    Returns:
        (size, size).
    """
    r = np.arange(size) - size // 2
    x, y = np.meshgrid(r, r)
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    u, v = c * x + s * y, -s * x + c * y
    kernel = np.exp(-0.5 * ((u / sigma) ** 2 + (v / (sigma * ratio)) ** 2))
    return (kernel / kernel.sum()).astype(np.float32)
