"""Regions of a face that a picture does not show: scratches, captions, objects, glasses or a mask to be removed."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from likeness.errors import ConfigError
from likeness.ops.geometry import template

Mask = npt.NDArray[np.bool_]
KINDS = ("strokes", "rectangle", "text", "glasses", "mask")


def draw_unknown(kind: str, size: int, rng: np.random.Generator) -> Mask:
    """A region of an aligned crop, (size, size) bool, True where nothing is known.

    Args:
        kind: "strokes" (free-form, after Yu et al., ICCV 2019, section 3.3), "rectangle", "text", "glasses" (lenses and
            bridge) or "mask" (nose to chin), the last two at the template's landmarks.
        size: edge of the crop in pixels.
        rng: draws the shape.

    Raises:
        ConfigError: if the kind is unknown.
    """
    drawn = np.zeros((size, size), np.uint8)
    if kind == "strokes":
        _strokes(drawn, rng)
    elif kind == "rectangle":
        width, height = (int(size * rng.uniform(0.1, 0.45)) for _ in range(2))
        x, y = int(rng.integers(0, size - width)), int(rng.integers(0, size - height))
        cv2.rectangle(drawn, (x, y), (x + width, y + height), 1, -1)
    elif kind == "text":
        _text(drawn, rng)
    elif kind == "glasses":
        _glasses(drawn, rng)
    elif kind == "mask":
        _mask(drawn, rng)
    else:
        raise ConfigError(f"unknown: got {kind!r}, expected one of {', '.join(KINDS)}")
    return drawn.astype(bool)


def _strokes(drawn: npt.NDArray[np.uint8], rng: np.random.Generator) -> None:
    size = len(drawn)
    for _ in range(int(rng.integers(1, 5))):
        point, angle = rng.uniform(0, size, 2), rng.uniform(0, 2 * np.pi)
        thickness = max(1, int(size * rng.choice([0.008, 0.02, 0.06]) * rng.uniform(0.7, 1.5)))
        for _ in range(int(rng.integers(2, 8))):
            angle += rng.uniform(-0.9, 0.9)
            end = point + size * rng.uniform(0.05, 0.2) * np.array([np.cos(angle), np.sin(angle)])
            cv2.line(drawn, _pixel(point), _pixel(end), 1, thickness)
            point = end


def _text(drawn: npt.NDArray[np.uint8], rng: np.random.Generator) -> None:
    size = len(drawn)
    letters = "".join(rng.choice(list("ABCDEFGHKLMNPRSTUVWXYZ0123456789 "), int(rng.integers(4, 14))))
    scale = size / 256 * float(rng.uniform(0.6, 1.6))
    where = (int(rng.uniform(-0.1, 0.5) * size), int(rng.uniform(0.2, 0.95) * size))
    cv2.putText(drawn, letters, where, cv2.FONT_HERSHEY_SIMPLEX, scale, 1, max(1, round(3 * scale)))


def _glasses(drawn: npt.NDArray[np.uint8], rng: np.random.Generator) -> None:
    left, right = template(len(drawn))[:2]
    apart = right[0] - left[0]
    axes = (int(apart * rng.uniform(0.32, 0.46)), int(apart * rng.uniform(0.22, 0.36)))
    thickness = -1 if rng.random() < 0.5 else max(1, int(apart * rng.uniform(0.04, 0.12)))
    for eye in (left, right):
        cv2.ellipse(drawn, _pixel(eye), axes, 0, 0, 360, 1, thickness)
    cv2.line(drawn, _pixel(left), _pixel(right), 1, max(1, int(apart * rng.uniform(0.04, 0.1))))
    if thickness > 0:  # rims alone: the bridge ends at them
        for eye in (left, right):
            cv2.ellipse(drawn, _pixel(eye), tuple(a - thickness // 2 for a in axes), 0, 0, 360, 0, -1)


def _mask(drawn: npt.NDArray[np.uint8], rng: np.random.Generator) -> None:
    points = template(len(drawn))
    apart, nose, mouth = points[1, 0] - points[0, 0], points[2], points[3:].mean(0)
    top, bottom = nose[1] - apart * rng.uniform(-0.1, 0.45), mouth[1] + apart * rng.uniform(0.45, 0.85)
    half = apart * rng.uniform(0.75, 1.05)
    outline = [
        (nose[0], top), (nose[0] + half, top + 0.25 * apart), (nose[0] + 0.8 * half, mouth[1] + 0.2 * apart),
        (mouth[0], bottom), (nose[0] - 0.8 * half, mouth[1] + 0.2 * apart), (nose[0] - half, top + 0.25 * apart),
    ]  # fmt: skip
    moved = np.array(outline) + rng.normal(0, 0.04 * apart, (6, 2))
    cv2.fillPoly(drawn, [np.rint(moved).astype(np.int32)], 1)


def _pixel(point: npt.NDArray[np.float64]) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))
