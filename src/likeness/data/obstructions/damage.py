"""Damage of old prints and what is written on pictures: scratches, cracks, folds, dust, stains, stamps and text."""

from __future__ import annotations

import cv2
import numpy as np

from likeness.data.obstructions.layers import (
    Layer,
    Points,
    blurred,
    clouds,
    random_colour,
    shaded,
    smooth_outline,
    stroke,
)
from likeness.types import FloatArray

_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_PLAIN, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_SCRIPT_SIMPLEX,
)  # fmt: skip
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.,:-/©@ "


def damage(size: int, rng: np.random.Generator) -> list[Layer]:
    """The damage of one print: one to three kinds of it.

    Args:
        size: edge of the picture in pixels; lines are 1 to 4 of 256 pixels wide.
        rng: source of everything.
    """
    makers = (_scratches, _crack, _fold, _dust, _stain)
    chosen = rng.choice(len(makers), int(rng.integers(1, 4)), p=[0.4, 0.2, 0.1, 0.2, 0.1])
    return [makers[i](size, rng) for i in chosen]


def _scratches(size: int, rng: np.random.Generator) -> Layer:
    """Long, nearly straight, thin lines, often several in one direction."""
    coverage, towards = np.zeros((size, size), np.float32), rng.uniform(0, np.pi)
    for _ in range(int(rng.integers(1, 9))):
        angle = towards + rng.normal(0, 0.15) if rng.random() < 0.6 else rng.uniform(0, np.pi)
        length = size * rng.uniform(0.15, 1.4)
        t = np.linspace(-0.5, 0.5, 16)[:, None]
        way = np.array([np.cos(angle), np.sin(angle)])
        bow = np.array([-way[1], way[0]]) * rng.normal(0, 0.06) * length
        line = rng.uniform(0, size, 2) + t * length * way + (4 * t**2) * bow + rng.normal(0, 0.002 * size, (16, 2))
        drawn = stroke(size, line, _width(size, rng))
        if rng.random() < 0.4:  # it skips
            drawn = drawn * (clouds(size, int(rng.integers(6, 24)), rng) > rng.uniform(0.2, 0.5))
        coverage = np.maximum(coverage, drawn)
    return _marked(coverage, rng)


def _crack(size: int, rng: np.random.Generator) -> Layer:
    """A jagged line with branches."""
    coverage = np.zeros((size, size), np.float32)
    ways = [(rng.uniform(0, size, 2), rng.uniform(0, 2 * np.pi), 1.0)]
    width = _width(size, rng)
    for _ in range(int(rng.integers(1, 6))):
        point, angle, scale = ways[int(rng.integers(len(ways)))]
        points = [point]
        for _ in range(int(rng.integers(8, 36))):
            angle += rng.normal(0, 0.45)
            point = point + size * 0.03 * rng.uniform(0.4, 1.4) * np.array([np.cos(angle), np.sin(angle)])
            points.append(point)
            if rng.random() < 0.1:
                ways.append((point, angle + rng.choice([-1, 1]) * rng.uniform(0.5, 1.3), scale * 0.7))
        coverage = np.maximum(coverage, stroke(size, np.array(points), width * scale))
    return _marked(coverage, rng)


def _fold(size: int, rng: np.random.Generator) -> Layer:
    """A crease across the whole picture, from which the emulsion has come off."""
    at, angle = rng.uniform(0.1, 0.9, 2) * size, rng.choice([0, np.pi / 2]) + rng.normal(0, 0.08)
    way = np.array([np.cos(angle), np.sin(angle)])
    t = np.linspace(-1.5, 1.5, 40)[:, None] * size
    line = at + t * way + rng.normal(0, 0.0025 * size, (40, 2))
    coverage = stroke(size, line, _width(size, rng) * 1.3)
    chipped = stroke(size, line, _width(size, rng) * 3) * (clouds(size, 30, rng) > 0.62)
    return _marked(np.maximum(coverage, chipped).astype(np.float32), rng)


def _dust(size: int, rng: np.random.Generator) -> Layer:
    """Specks, and a few fibres."""
    coverage = np.zeros((size, size), np.float32)
    for _ in range(int(rng.integers(4, 50))):
        at, radius = rng.uniform(0, size, 2), size * rng.uniform(0.002, 0.009)
        turn = np.linspace(0, 2 * np.pi, 6)[:-1, None]
        ring = np.hstack([np.cos(turn), np.sin(turn)]) * rng.uniform(0.4, 1.3, (5, 1)) * radius
        coverage = np.maximum(coverage, stroke(size, at + ring, radius, closed=True))
    for _ in range(int(rng.integers(0, 4))):
        steps = np.cumsum(rng.normal(0, 0.35, 12)) + rng.uniform(0, 2 * np.pi)
        curl = rng.uniform(0, size, 2) + np.cumsum(np.stack([np.cos(steps), np.sin(steps)], 1), 0) * size * 0.012
        coverage = np.maximum(coverage, stroke(size, curl, size * 0.004))
    return _marked(coverage, rng)


def _stain(size: int, rng: np.random.Generator) -> Layer:
    """A patch of another colour with an uneven rim, or a place where the emulsion is gone."""
    turn = np.linspace(0, 2 * np.pi, 10)[:-1, None]
    radius = size * rng.uniform(0.02, 0.1)
    ring = np.hstack([np.cos(turn), np.sin(turn)]) * rng.uniform(0.5, 1.5, (9, 1)) * radius
    canvas = np.zeros((size, size), np.uint8)
    cv2.fillPoly(canvas, [np.rint(rng.uniform(0.05, 0.95, 2) * size + smooth_outline(ring)).astype(np.int32)], 255)
    inside = np.asarray(canvas / np.float32(255), np.float32)
    texture = clouds(size, int(rng.integers(4, 20)), rng)
    colour = shaded(size, random_colour(rng), rng, 0.5)
    opacity = rng.uniform(0.9, 1.0) if rng.random() < 0.5 else rng.uniform(0.4, 0.8) * (0.6 + 0.4 * texture)
    soft = blurred(inside, size * rng.uniform(0.001, 0.008))
    return Layer(colour, np.asarray(soft * opacity, np.float32), inside)


def _width(size: int, rng: np.random.Generator) -> float:
    return size / 256 * float(rng.choice([1.0, 1.6, 2.4, 4.0], p=[0.35, 0.35, 0.2, 0.1]) * rng.uniform(0.7, 1.3))


def _marked(coverage: FloatArray, rng: np.random.Generator) -> Layer:
    """Lines and specks: mostly white, else black or stained; some with a shadow along one side."""
    size = len(coverage)
    tone = rng.choice(["light", "dark", "stained"], p=[0.65, 0.25, 0.1])
    base = (
        random_colour(rng)
        if tone == "stained"
        else np.full(3, rng.uniform(*((0.75, 1) if tone == "light" else (0, 0.2))))
    )
    colour = shaded(size, base, rng, 0.15)
    alpha = coverage * rng.uniform(0.55, 1.0)
    if tone == "light" and rng.random() < 0.25:
        moved = np.roll(coverage, rng.integers(-2, 3, 2), (0, 1)) * (1 - coverage)
        colour = np.where(moved[..., None] > 0.3, np.float32(0.1), colour)
        alpha = np.maximum(alpha, 0.5 * moved)
    return Layer(colour.astype(np.float32), np.asarray(alpha, np.float32), coverage)


def text(size: int, rng: np.random.Generator) -> Layer:
    """A date stamp, a caption or a watermark."""
    kind = rng.choice(["stamp", "caption", "watermark"])
    words = _stamp(rng) if kind == "stamp" else "".join(rng.choice(list(_LETTERS), int(rng.integers(3, 18))))
    scale = size / 256 * float(rng.uniform(0.35, 1.1) if kind != "watermark" else rng.uniform(0.7, 1.8))
    font, thick = int(rng.choice(_FONTS)), max(1, round(scale * rng.uniform(1, 3)))
    at = (rng.uniform(-0.05, 0.6) * size, rng.uniform(0.1, 0.98) * size)
    if kind == "stamp" and rng.random() < 0.7:
        at = (rng.uniform(0.35, 0.65) * size, rng.uniform(0.85, 0.97) * size)
    angle = rng.normal(0, 2) if kind != "watermark" else rng.uniform(-45, 45)
    letters, outline = (_written(size, words, at, font, scale, t, angle) for t in (thick, thick + 2))
    if kind == "stamp":
        colour = np.array([1.0, rng.uniform(0.25, 0.8), rng.uniform(0, 0.25)])
    else:
        colour = np.full(3, rng.choice([0.02, 0.97])) if rng.random() < 0.7 else random_colour(rng)
    picture = np.broadcast_to(colour.astype(np.float32), (size, size, 3)).copy()
    alpha = letters * np.float32(rng.uniform(0.35, 0.8) if kind == "watermark" else rng.uniform(0.8, 1))
    if kind == "caption" and rng.random() < 0.5:
        picture = np.where(letters[..., None] > 0.5, picture, np.float32(1 - colour.mean()))
        alpha = np.maximum(alpha, outline)
    return Layer(picture, np.asarray(alpha, np.float32), np.maximum(letters, outline * 0.5))


def _stamp(rng: np.random.Generator) -> str:
    day, month, year = int(rng.integers(1, 29)), int(rng.integers(1, 13)), int(rng.integers(0, 100))
    mark = rng.choice(["/", ".", " ", "-", " ' "])
    return f"{day:02d}{mark}{month:02d}{mark}{year:02d}"


def _written(
    size: int, words: str, at: tuple[float, float], font: int, scale: float, thick: int, angle: float
) -> FloatArray:
    canvas = np.zeros((size, size), np.uint8)
    cv2.putText(canvas, words, (round(at[0]), round(at[1])), font, scale, 255, thick, cv2.LINE_AA)
    turn: Points = np.asarray(cv2.getRotationMatrix2D(at, angle, 1.0))
    return np.asarray(cv2.warpAffine(canvas, turn, (size, size), flags=cv2.INTER_LINEAR) / 255, np.float32)
