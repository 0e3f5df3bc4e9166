"""Finds damage and text in a whole picture with the network that marks faces, tile by tile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from likeness.errors import InputError
from likeness.nets.obstructions import CLASSES, INPUT_SIZE
from likeness.ops.color import to_float
from likeness.ops.resize import resize
from likeness.types import FloatArray, Mask, Pixels

_LONGEST = 768  # pixels of the picture's longer side; scratches of the training are 1 to 4 pixels wide
_STEP = 96  # pixels from tile to tile, so that neighbours overlap by 32
_BATCH = 8
THRESHOLD = 0.6  # probability


def find_damage(pixels: Pixels, kinds: Sequence[str], classify: Callable[[Sequence[FloatArray]], FloatArray]) -> Mask:
    """Marks damage or text in a picture.

    The picture is looked at with its longer side at 768 pixels at most. Where tiles overlap, the one in which the pixel
    lies further from the border counts more.

    Args:
        pixels: HWC uint8.
        kinds: classes of the network.
        classify: pictures of 128 pixels, in [0, 1], to (B, 7, 128, 128) probabilities.

    Returns:
        (H, W), with a margin of one pixel.
    """
    height, width = pixels.shape[:2]
    scale = min(1.0, _LONGEST / max(height, width))
    small = to_float(resize(pixels, max(1, round(width * scale)), max(1, round(height * scale))))
    rows, columns = small.shape[:2]
    down, right = (max(0, INPUT_SIZE - n) for n in (rows, columns))
    padded = np.pad(small, ((0, down), (0, right), (0, 0)), mode="symmetric")
    corners = [(y, x) for y in _starts(padded.shape[0]) for x in _starts(padded.shape[1])]
    wanted = [CLASSES.index(kind) for kind in kinds]
    axis = np.minimum(np.arange(INPUT_SIZE), np.arange(INPUT_SIZE)[::-1]) + 1.0
    weight = np.minimum.outer(axis, axis).astype(np.float32)
    total, weights = np.zeros((2, *padded.shape[:2]), np.float32)
    for i in range(0, len(corners), _BATCH):
        some = corners[i : i + _BATCH]
        found = classify([padded[y : y + INPUT_SIZE, x : x + INPUT_SIZE] for y, x in some])[:, wanted].sum(1)
        for (y, x), probability in zip(some, found, strict=True):
            part = (slice(y, y + INPUT_SIZE), slice(x, x + INPUT_SIZE))
            total[part] += probability * weight
            weights[part] += weight
    marked = ((total / weights)[:rows, :columns] > THRESHOLD).astype(np.uint8)
    large = cv2.resize(marked, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(cv2.dilate(large, np.ones((3, 3))) > 0)


def read_mask(file: Path, height: int, width: int) -> Mask:
    """A mask that the user painted: (H, W), True where it is brighter than half.

    Raises:
        InputError: if it cannot be read or has another size.
    """
    try:
        with Image.open(file) as picture:
            mask = np.asarray(picture.convert("L")) > 127
    except OSError as error:
        raise InputError(f"repair: {file} cannot be read ({error}); give a mask of the photo's size") from error
    if mask.shape != (height, width):
        raise InputError(
            f"repair: {file} has {mask.shape[1]}x{mask.shape[0]} pixels and the photo {width}x{height}; expected the "
            "same size"
        )
    return mask


def _starts(length: int) -> list[int]:
    """Where tiles begin along an axis; the last one ends at its end."""
    return sorted({*range(0, length - INPUT_SIZE, _STEP), length - INPUT_SIZE})
