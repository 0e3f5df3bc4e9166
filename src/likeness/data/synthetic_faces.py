"""Cartoon faces on the FFHQ template, so that training and tests run without any data."""

from __future__ import annotations

import cv2
import numpy as np

from likeness.ops.geometry import rescale_points, template
from likeness.types import Pixels


def draw_face(size: int, seed: int) -> Pixels:
    """A cartoon face aligned to the FFHQ template.

    Args:
        size: edge in pixels.
        seed: the same seed gives the same face.

    Returns:
        (size, size, 3) uint8.

    Examples:
        >>> draw_face(64, seed=1).shape
        (64, 64, 3)
    """
    rng = np.random.default_rng(seed)
    big = 2 * size  # drawn at twice the size, then averaged, for smooth edges
    k = big / 512
    eyes_nose_mouth = rescale_points(template(size), 2)

    def colour(low: int, high: int) -> tuple[int, int, int]:
        r, g, b = (int(v) for v in rng.integers(low, high, 3))
        return r, g, b

    def pixel(x: float, y: float) -> tuple[int, int]:
        return round(x), round(y)

    top, bottom = np.array(colour(20, 235)), np.array(colour(20, 235))
    ramp = np.linspace(0, 1, big)[:, None, None]
    canvas = np.broadcast_to(top + (bottom - top) * ramp, (big, big, 3)).astype(np.uint8).copy()
    skin = np.array([224, 172, 140]) * rng.uniform(0.35, 1.1)
    skin_colour = tuple(int(v) for v in np.clip(skin, 0, 255))
    hair = colour(10, 150)
    centre = pixel(256 * k, 300 * k)
    cv2.ellipse(canvas, pixel(256 * k, 250 * k), pixel(170 * k, 200 * k), 0, 0, 360, hair, -1, cv2.LINE_AA)
    cv2.ellipse(canvas, centre, pixel(rng.uniform(125, 145) * k, 190 * k), 0, 0, 360, skin_colour, -1, cv2.LINE_AA)
    iris = colour(20, 160)
    for x, y in eyes_nose_mouth[:2]:
        cv2.ellipse(canvas, pixel(x, y), pixel(26 * k, 13 * k), 0, 0, 360, (245, 245, 245), -1, cv2.LINE_AA)
        cv2.circle(canvas, pixel(x, y), round(11 * k), iris, -1, cv2.LINE_AA)
        cv2.circle(canvas, pixel(x, y), round(5 * k), (10, 10, 10), -1, cv2.LINE_AA)
        brow = rng.uniform(28, 40) * k
        cv2.ellipse(canvas, pixel(x, y - brow), pixel(34 * k, 8 * k), 0, 180, 360, hair, round(6 * k), cv2.LINE_AA)
    nose = eyes_nose_mouth[2]
    shade = tuple(int(v * 0.75) for v in skin_colour)
    cv2.ellipse(canvas, pixel(*nose), pixel(20 * k, 12 * k), 0, 0, 180, shade, round(4 * k), cv2.LINE_AA)
    mouth = eyes_nose_mouth[3:].mean(0)
    lips = tuple(int(v) for v in np.clip(np.array(skin_colour) * (1.0, 0.55, 0.55), 0, 255))
    cv2.ellipse(canvas, pixel(*mouth), pixel(56 * k, rng.uniform(8, 24) * k), 0, 0, 360, lips, -1, cv2.LINE_AA)
    for _ in range(60):  # freckles and hair strands: detail at high frequencies
        x, y = rng.uniform(130, 380), rng.uniform(180, 430)
        cv2.circle(canvas, pixel(x * k, y * k), max(1, round(1.5 * k)), shade, -1, cv2.LINE_AA)
        x = rng.uniform(100, 410)
        end = pixel((x + rng.uniform(-30, 30)) * k, 130 * k)
        cv2.line(canvas, pixel(x * k, 60 * k), end, colour(10, 200), 1, cv2.LINE_AA)
    return cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
