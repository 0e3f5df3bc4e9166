"""Glasses, cloth masks and strands of hair over an aligned face."""

from __future__ import annotations

import cv2
import numpy as np

from likeness.data.obstructions.layers import (
    Layer,
    blurred,
    clouds,
    fill,
    random_colour,
    shaded,
    smooth_outline,
    stroke,
    strokes,
)
from likeness.ops.geometry import template
from likeness.types import FloatArray


def glasses(face: FloatArray, rng: np.random.Generator) -> Layer:
    """Glasses at the template's eyes: frame, bridge, temples, clear or tinted lenses, and reflections in them.

    Args:
        face: (S, S, 3) aligned face in [0, 1].
        rng: source of the shape.
    """
    size = len(face)
    left, right = template(size)[:2] + rng.normal(0, size * 0.006, (1, 2))
    d = right[0] - left[0]
    half = np.array([d * rng.uniform(0.3, 0.47), d * rng.uniform(0.2, 0.42)])
    power, drop = rng.choice([2.0, 2.5, 3.0, 4.0, 6.0]), rng.uniform(-0.05, 0.12) * d
    width = d * rng.choice([0.012, 0.025, 0.045, 0.08]) * rng.uniform(0.8, 1.3)
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    c, s = np.cos(angle), np.sin(angle)
    lens = np.stack([np.sign(c) * np.abs(c) ** (2 / power), np.sign(s) * np.abs(s) ** (2 / power)], 1) * half
    if rng.random() < 0.4:  # narrower towards the cheek, as most are
        lens[:, 0] *= 1 - rng.uniform(0, 0.25) * np.clip(lens[:, 1] / half[1], 0, 1)
    centres = [eye + np.array([0, drop]) for eye in (left, right)]
    frame, inside = np.zeros((2, size, size), np.float32)
    rimless, upper = rng.random() < 0.12, rng.random() < 0.12
    for centre, side in zip(centres, (-1, 1), strict=True):
        outline = centre + lens * (side, 1)
        inside = np.maximum(inside, fill(size, outline))
        if upper:
            outline = outline[np.argsort(angle)][32:]  # the upper half: y points down
        if not rimless:
            frame = np.maximum(frame, stroke(size, outline, width, closed=not upper))
        temple = np.array([(side * half[0], -0.4 * half[1]), (side * d * rng.uniform(0.55, 0.8), -0.1 * d)])
        frame = np.maximum(frame, stroke(size, centre + temple, width * 0.9))
    inner = [centres[0] + (half[0], -0.15 * half[1]), centres[1] - (half[0], 0.15 * half[1])]
    arch = np.array([inner[0], (inner[0] + inner[1]) / 2 - (0, rng.uniform(0, 0.08) * d), inner[1]])
    frame = np.maximum(frame, stroke(size, arch, width))
    colour, alpha = shaded(size, _frame_colour(rng), rng), frame.copy()
    glass, tint = _lens(size, inside, rng)
    clear = inside * (1 - frame)
    colour = np.where(clear[..., None] > 0.5, glass, colour)
    alpha = np.maximum(alpha, clear * tint)
    return Layer(colour.astype(np.float32), alpha.astype(np.float32), np.maximum(frame, inside))


def _frame_colour(rng: np.random.Generator) -> np.ndarray:
    if rng.random() < 0.5:
        return np.full(3, rng.uniform(0.02, 0.15))
    return random_colour(rng) if rng.random() < 0.5 else np.array([0.7, 0.6, 0.4]) * rng.uniform(0.4, 1.2)


def _lens(size: int, inside: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Colour (S, S, 3) and opacity (S, S) of the lenses."""
    kind = rng.choice(["clear", "tinted", "dark"], p=[0.65, 0.15, 0.2])
    base = {"clear": 0.0, "tinted": rng.uniform(0.15, 0.5), "dark": rng.uniform(0.75, 1.0)}[kind]
    colour = np.broadcast_to(np.asarray(random_colour(rng) * 0.4, np.float32), (size, size, 3)).copy()
    opacity = np.full((size, size), base, np.float32)
    if rng.random() < 0.5:  # windows, lamps and sky
        shine = np.zeros((size, size), np.float32)
        for _ in range(int(rng.integers(1, 5))):
            x, y = rng.uniform(0.25, 0.75) * size, rng.uniform(0.38, 0.58) * size
            box = cv2.boxPoints(((x, y), tuple(rng.uniform(0.01, 0.12, 2) * size), rng.uniform(0, 90)))
            shine = np.maximum(shine, fill(size, np.asarray(box, np.float64)) * rng.uniform(0.2, 0.9))
        shine = blurred(shine, size * rng.uniform(0.002, 0.012))
        if rng.random() < 0.3:
            shine = np.maximum(shine, 0.5 * clouds(size, 5, rng) ** 2)
        white = np.asarray(rng.uniform(0.75, 1.0, 3), np.float32)
        both = np.maximum(opacity, shine)
        mixing = (shine / np.maximum(opacity + shine, 1e-6))[..., None]
        return colour * (1 - mixing) + white * mixing, both
    return colour, opacity


def mask(face: FloatArray, rng: np.random.Generator) -> Layer:
    """A cloth or surgical mask from nose to chin, with pleats, bands and the light that falls on the face."""
    size = len(face)
    points = template(size)
    d, nose, mouth = points[1, 0] - points[0, 0], points[2], points[3:].mean(0)
    top, bottom = nose[1] - d * rng.uniform(-0.05, 0.45), mouth[1] + d * rng.uniform(0.5, 0.85)
    half, lean = d * rng.uniform(0.75, 1.05), rng.uniform(-0.12, 0.12) * d
    corners = np.array([
        (nose[0] + lean, top - 0.06 * d), (nose[0] + 0.6 * half, top + 0.12 * d), (nose[0] + half, top + 0.3 * d),
        (nose[0] + 0.95 * half, mouth[1] + 0.1 * d), (mouth[0] + 0.5 * half, bottom - 0.08 * d), (mouth[0], bottom),
        (mouth[0] - 0.5 * half, bottom - 0.08 * d), (nose[0] - 0.95 * half, mouth[1] + 0.1 * d),
        (nose[0] - half, top + 0.3 * d), (nose[0] - 0.6 * half, top + 0.12 * d),
    ]) + rng.normal(0, 0.025 * d, (10, 2))  # fmt: skip
    cloth = fill(size, smooth_outline(corners))
    colour = shaded(size, _cloth_colour(rng), rng, 0.25)
    if rng.random() < 0.3:
        colour = _patterned(colour, rng)
    light = blurred(face.mean(2), size * 0.07)
    light = np.clip(light / max(float(np.percentile(light, 80)), 0.05), 0.35, 1.15)
    if rng.random() < 0.6:
        for y in np.linspace(top + 0.2 * d, bottom - 0.2 * d, int(rng.integers(2, 5))):
            bend = [(nose[0] - half, y), (nose[0], y + rng.uniform(0, 0.1) * d), (nose[0] + half, y)]
            light = light * (1 - 0.35 * blurred(stroke(size, np.array(bend), 0.02 * d), 0.008 * size))
    bands = np.zeros((size, size), np.float32)
    for side in (-1, 1):
        for y in (corners[2, 1], corners[3, 1]):
            line = np.array([(nose[0] + side * half, y), (nose[0] + side * 1.35 * d, nose[1] - 0.2 * d)])
            bands = np.maximum(bands, stroke(size, line, 0.025 * d))
    extent = np.maximum(cloth, bands * (rng.random() < 0.6))
    alpha = extent if rng.random() < 0.7 else blurred(extent, size * rng.uniform(0.001, 0.004))
    return Layer(np.clip(colour * light[..., None], 0, 1).astype(np.float32), alpha, extent)


def _cloth_colour(rng: np.random.Generator) -> np.ndarray:
    usual = [(0.93, 0.94, 0.95), (0.62, 0.8, 0.88), (0.08, 0.08, 0.09), (0.35, 0.4, 0.5), (0.75, 0.85, 0.8)]
    if rng.random() < 0.65:
        return np.array(usual[int(rng.integers(len(usual)))]) * rng.uniform(0.85, 1.05)
    return random_colour(rng)


def _patterned(colour: FloatArray, rng: np.random.Generator) -> FloatArray:
    size, other = len(colour), np.asarray(random_colour(rng), np.float32)
    y, x = np.mgrid[:size, :size] * (2 * np.pi / (size * rng.uniform(0.02, 0.12)))
    turn = rng.uniform(0, np.pi)
    waves = np.sin(np.cos(turn) * x + np.sin(turn) * y)
    if rng.random() < 0.5:
        waves = waves * np.sin(np.cos(turn + 1.5) * x + np.sin(turn + 1.5) * y)
    return np.where((waves > rng.uniform(-0.2, 0.6))[..., None], other * colour.mean(2, keepdims=True) * 1.4, colour)


def hair(face: FloatArray, rng: np.random.Generator) -> Layer:
    """Strands that fall from the forehead over eyes and cheeks, in a colour taken from above the face."""
    size = len(face)
    band = face[: size // 6, size // 4 : -size // 4].reshape(-1, 3)
    base = band[int(rng.integers(len(band)))] if rng.random() < 0.7 else random_colour(rng) * 0.6
    lines, widths, tones = [], [], []
    for _ in range(int(rng.integers(1, 4))):
        root = np.array([rng.uniform(0.22, 0.78), rng.uniform(0.08, 0.28)]) * size
        tip = np.array([np.clip(root[0] / size + rng.normal(0, 0.16), 0.1, 0.9), rng.uniform(0.42, 0.9)]) * size
        bend, spread = rng.normal(0, 0.1 * size), rng.uniform(0.01, 0.05) * size
        for _ in range(int(rng.integers(3, 40))):
            t = np.linspace(0, rng.uniform(0.7, 1.0), 14)[:, None]
            start, end = root + rng.normal(0, spread, 2), tip + rng.normal(0, 1.6 * spread, 2)
            side = np.array([1.0, 0.25]) * (bend + rng.normal(0, 0.25 * spread))
            lines.append(start * (1 - t) + end * t + 4 * t * (1 - t) * side)
            widths.append(size * rng.uniform(0.003, 0.009))
            tones.append(rng.uniform(0.55, 1.5))
    coverage = strokes(size, lines, widths)
    tone = np.maximum(2 * strokes(size, lines, widths, [t / 2 for t in tones]), 0.5)
    colour = np.clip(np.asarray(base, np.float32) * tone[..., None], 0, 1)
    closed = np.asarray(cv2.morphologyEx(coverage, cv2.MORPH_CLOSE, np.ones((3, 3))), np.float32)
    return Layer(colour.astype(np.float32), coverage * np.float32(rng.uniform(0.7, 1)), closed)
