"""The recipe `film`: one frame of an encoded clip of a moving face, made from a single picture."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from likeness.data.degradations.codecs import encode_clip_frame, to_uint8
from likeness.data.degradations.recipes import FILM_FRAMES, DegradationParams
from likeness.types import FloatArray, Pixels


def render_film_frame(image: npt.NDArray[Any], params: DegradationParams, rng: np.random.Generator) -> Pixels:
    """Moves the face through `FILM_FRAMES` frames, adds noise to each, encodes them and decodes one.

    The face translates, rotates, zooms and deforms. With translation alone the encoder would predict the frames too
    well, and the quality would be better than in a real clip. The returned frame is aligned with `image`.

    Args:
        image: HWC float32 on the 0..255 scale.
        params: noise, codec_level, frame, move_x, move_y, film_seed and encoder are used.
        rng: source of the noise alone.

    Returns:
        HWC uint8 of the same size.
    """
    height, width = image.shape[:2]
    # One sheet of noise of four times the picture's area, from which each frame takes another crop: cheaper than
    # sampling new noise for every frame.
    sheet = rng.standard_normal((2 * height, 2 * width, 3), np.float32) * np.float32(params.noise)
    frames = []
    for x, y, gain in _motion(params, width, height):
        moved = cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
        top, left = int(rng.integers(height + 1)), int(rng.integers(width + 1))
        frames.append(to_uint8(moved * gain + sheet[top : top + height, left : left + width]))
    return encode_clip_frame(frames, params.frame, params.codec_level, params.encoder or "libx264")


def _motion(params: DegradationParams, width: int, height: int) -> Iterator[tuple[FloatArray, FloatArray, np.float32]]:
    """For each frame the source coordinates of its pixels, x and y (H, W) float32, and its gain in brightness.

    The amounts match five real clips (experiments/film): between aligned faces of neighbouring frames the root mean
    square difference is 2 to 20 grey levels, between frames five apart 8 to 40.
    """
    rng = np.random.default_rng(params.film_seed)
    zoom, turn = rng.normal(0, 0.002), rng.normal(0, math.radians(0.15))
    bend = 0.025 * rng.random() ** 2 * min(width, height)  # pixels
    angular_speed = 2 * math.pi / rng.uniform(6, 24, 2)
    phase = rng.uniform(0, 2 * math.pi, 2)
    flicker, flicker_speed = rng.uniform(0, 0.03), rng.uniform(0.05, 0.5)
    coarse = [rng.normal(0, bend, (5, 5, 2)).astype(np.float32) for _ in angular_speed]
    deformations = [cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC) for field in coarse]
    x, y = np.arange(width, dtype=np.float32)[None], np.arange(height, dtype=np.float32)[:, None]
    u, v = x - (width - 1) / 2, y - (height - 1) / 2
    for i in range(FILM_FRAMES):
        t = i - params.frame
        scale = math.exp(zoom * t)
        c, s = scale * math.cos(turn * t) - 1, scale * math.sin(turn * t)
        source_x, source_y = x + c * u - s * v - t * params.move_x, y + s * u + c * v - t * params.move_y
        for deformation, p, q in zip(deformations, angular_speed, phase, strict=True):
            amount = math.sin(p * i + q) - math.sin(p * params.frame + q)
            source_x, source_y = source_x + amount * deformation[..., 0], source_y + amount * deformation[..., 1]
        gain = 1 + flicker * (math.sin(flicker_speed * i) - math.sin(flicker_speed * params.frame))
        yield source_x.astype(np.float32), source_y.astype(np.float32), np.float32(gain)
