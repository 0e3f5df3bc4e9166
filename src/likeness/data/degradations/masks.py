"""Random masks for inpainting: scratches, captions, objects, glasses or a face mask that are to be removed."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from likeness.errors import ConfigError
from likeness.ops.geometry import template

Mask = npt.NDArray[np.bool_]
MASK_KINDS = ("strokes", "rectangle", "text", "glasses", "face_mask")


def sample_mask(kind: str, size: int, rng: np.random.Generator) -> Mask:
    """Samples the pixels of an aligned crop that are to be inpainted.

    Args:
        kind: "strokes" (free-form, after Yu et al., ICCV 2019, section 3.3), "rectangle", "text", "glasses" (lenses and
            bridge) or "face_mask" (nose to chin); the last two lie at the template's landmarks.
        size: edge of the crop in pixels.
        rng: source of the shape.

    Returns:
        (size, size) bool, True where pixels are unknown.

    Raises:
        ConfigError: if the kind is not one of `MASK_KINDS`.
    """
    canvas = np.zeros((size, size), np.uint8)
    if kind == "strokes":
        _strokes(canvas, rng)
    elif kind == "rectangle":
        width, height = (int(size * rng.uniform(0.1, 0.45)) for _ in range(2))
        x, y = int(rng.integers(0, size - width)), int(rng.integers(0, size - height))
        cv2.rectangle(canvas, (x, y), (x + width, y + height), 1, -1)
    elif kind == "text":
        _text(canvas, rng)
    elif kind == "glasses":
        _glasses(canvas, rng)
    elif kind == "face_mask":
        _face_mask(canvas, rng)
    else:
        raise ConfigError(f"mask: got {kind!r}, expected one of {', '.join(MASK_KINDS)}")
    return canvas.astype(bool)


def _strokes(canvas: npt.NDArray[np.uint8], rng: np.random.Generator) -> None:
    size = len(canvas)
    for _ in range(int(rng.integers(1, 5))):
        point, angle = rng.uniform(0, size, 2), rng.uniform(0, 2 * np.pi)
        thickness = max(1, int(size * rng.choice([0.008, 0.02, 0.06]) * rng.uniform(0.7, 1.5)))
        for _ in range(int(rng.integers(2, 8))):
            angle += rng.uniform(-0.9, 0.9)
            end = point + size * rng.uniform(0.05, 0.2) * np.array([np.cos(angle), np.sin(angle)])
            cv2.line(canvas, _pixel(point), _pixel(end), 1, thickness)
            point = end


def _text(canvas: npt.NDArray[np.uint8], rng: np.random.Generator) -> None:
    size = len(canvas)
    letters = "".join(rng.choice(list("ABCDEFGHKLMNPRSTUVWXYZ0123456789 "), int(rng.integers(4, 14))))
    scale = size / 256 * float(rng.uniform(0.6, 1.6))
    where = (int(rng.uniform(-0.1, 0.5) * size), int(rng.uniform(0.2, 0.95) * size))
    cv2.putText(canvas, letters, where, cv2.FONT_HERSHEY_SIMPLEX, scale, 1, max(1, round(3 * scale)))


def _glasses(canvas: npt.NDArray[np.uint8], rng: np.random.Generator) -> None:
    left, right = template(len(canvas))[:2]
    eye_distance = right[0] - left[0]
    axes = (int(eye_distance * rng.uniform(0.32, 0.46)), int(eye_distance * rng.uniform(0.22, 0.36)))
    thickness = -1 if rng.random() < 0.5 else max(1, int(eye_distance * rng.uniform(0.04, 0.12)))
    for eye in (left, right):
        cv2.ellipse(canvas, _pixel(eye), axes, 0, 0, 360, 1, thickness)
    cv2.line(canvas, _pixel(left), _pixel(right), 1, max(1, int(eye_distance * rng.uniform(0.04, 0.1))))
    if thickness > 0:  # rims only: clear the lenses, which the bridge crosses
        for eye in (left, right):
            cv2.ellipse(canvas, _pixel(eye), tuple(a - thickness // 2 for a in axes), 0, 0, 360, 0, -1)


def _face_mask(canvas: npt.NDArray[np.uint8], rng: np.random.Generator) -> None:
    points = template(len(canvas))
    d, nose, mouth = points[1, 0] - points[0, 0], points[2], points[3:].mean(0)  # d: between the eyes
    top, bottom = nose[1] - d * rng.uniform(-0.1, 0.45), mouth[1] + d * rng.uniform(0.45, 0.85)
    half = d * rng.uniform(0.75, 1.05)
    outline = [
        (nose[0], top), (nose[0] + half, top + 0.25 * d), (nose[0] + 0.8 * half, mouth[1] + 0.2 * d),
        (mouth[0], bottom), (nose[0] - 0.8 * half, mouth[1] + 0.2 * d), (nose[0] - half, top + 0.25 * d),
    ]  # fmt: skip
    jittered = np.array(outline) + rng.normal(0, 0.04 * d, (6, 2))
    cv2.fillPoly(canvas, [np.rint(jittered).astype(np.int32)], 1)


def _pixel(point: npt.NDArray[np.float64]) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))
