"""Training samples: a clean face, or a part of one, with obstructions drawn over it and their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from likeness.data.augment import change_exposure, jitter_crop, jitter_valid, sample_jitter
from likeness.data.degradations.codecs import jpeg
from likeness.data.degradations.stills import degrade
from likeness.data.obstructions.damage import damage, text
from likeness.data.obstructions.held import hand, thing
from likeness.data.obstructions.layers import Layer, label, paint, visible
from likeness.data.obstructions.worn import glasses, hair, mask
from likeness.data.sources import FaceSource
from likeness.nets.obstructions import CLASSES, INPUT_SIZE
from likeness.ops.color import to_float, to_integer
from likeness.ops.resize import resize
from likeness.types import FloatArray, Pixels

DRAWN_AT = 256  # pixels; half of it is the network's input
_RECIPES = (("clean", 0.4), ("slight", 0.1), ("mild", 0.25), ("gfpgan", 0.2), ("heavy", 0.05))
_CHANCES = {"glasses": 0.22, "mask": 0.12, "hair": 0.12, "object": 0.2, "damage": 0.3, "text": 0.12}


@dataclass(frozen=True)
class Obstructed:
    """A picture and what lies over it.

    Attributes:
        picture: (S, S, 3) uint8.
        extents: class and extent (S, S) of each thing, in the order in which they were painted.
    """

    picture: Pixels
    extents: tuple[tuple[int, FloatArray], ...]

    def labels(self, size: int) -> npt.NDArray[np.uint8]:
        """(size, size) uint8, an index into `CLASSES` for each pixel."""
        return label(self.extents, size)


def obstruct(
    picture: Pixels, kinds: Sequence[str], texture: Pixels, recipe: str, rng: np.random.Generator
) -> Obstructed:
    """Draws obstructions over an aligned face, or damage and text over any picture, and degrades it.

    Things that stood before the camera are degraded with the face; damage and text come after that, as on a print.

    Args:
        picture: (S, S, 3) uint8; not changed.
        kinds: some of `CLASSES` without "none"; drawn in the order of `CLASSES`.
        texture: (S, S, 3) uint8, for the surface of objects.
        recipe: of the degradation.
        rng: source of everything.

    Returns:
        The picture, and what lies over it.
    """
    now, extents = to_float(picture), []
    for kind in CLASSES[1:5]:
        if kind in kinds:
            layer = _worn_or_held(kind, now, to_float(texture), rng)
            now = paint(now, layer)
            extents.append((CLASSES.index(kind), layer.extent))
    now = to_float(degrade(to_integer(now), recipe, rng)[0])
    for kind in CLASSES[5:]:
        if kind in kinds:
            for layer in damage(len(now), rng) if kind == "damage" else [text(len(now), rng)]:
                before, now = now, paint(now, layer)
                extents.append((CLASSES.index(kind), visible(before, now, layer.extent)))
    return Obstructed(to_integer(now), tuple(extents))


def _worn_or_held(kind: str, face: FloatArray, texture: FloatArray, rng: np.random.Generator) -> Layer:
    if kind == "object":
        return hand(face, rng) if rng.random() < 0.5 else thing(face, texture, rng)
    return {"glasses": glasses, "mask": mask, "hair": hair}[kind](face, rng)


class ObstructionSamples(Dataset[dict[str, Any]]):
    """Endless samples. Sample n depends on the seed and n alone, whatever the worker or the order.

    A third of the samples show a part of a face picture, at half or full size, with damage and text only, so that the
    network also serves for tiles of whole pictures.

    Args:
        source: clean faces.
        weights: sampling weight of each face; None = equal weights.
        seed: another seed gives other samples.
        length: samples in one (virtual) epoch; sample numbers may exceed it.
    """

    def __init__(self, source: FaceSource, weights: Sequence[float] | None, seed: int, length: int) -> None:
        self.source, self.seed, self.length = source, seed, length
        w = np.ones(len(source)) if weights is None else np.asarray(weights, np.float64)
        self._weights = w / w.sum()
        self._cumulative = np.cumsum(self._weights)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> dict[str, Any]:
        rng = np.random.default_rng([self.seed, number])
        picture, valid = self._face(rng)
        kinds = [kind for kind, chance in _CHANCES.items() if rng.random() < chance]
        recipe = str(rng.choice([r for r, _ in _RECIPES], p=[p for _, p in _RECIPES]))
        if rng.random() < 1 / 3:
            return self._part(picture, kinds, recipe, rng)
        small = resize(picture, DRAWN_AT, DRAWN_AT)
        texture = resize(self._face(rng)[0], DRAWN_AT, DRAWN_AT) if "object" in kinds else small
        done = obstruct(small, kinds, texture, recipe, rng)
        picture, extents = done.picture, done.extents
        if rng.random() < 0.7:
            jitter = sample_jitter(rng)
            picture, valid = jitter_crop(picture, jitter), jitter_valid(valid, jitter)
            extents = tuple((kind, jitter_crop(extent, jitter)) for kind, extent in extents)
        return _sample(picture, label(extents, INPUT_SIZE), resize(valid.astype(np.uint8), INPUT_SIZE, INPUT_SIZE), rng)

    def _part(self, picture: Pixels, kinds: Sequence[str], recipe: str, rng: np.random.Generator) -> dict[str, Any]:
        """A square of 128 pixels of a face picture of 256 or 512, with damage and text."""
        edge = int(rng.choice([256, 512]))
        x, y = (int(v) for v in rng.integers(0, edge - INPUT_SIZE + 1, 2))
        part = resize(picture, edge, edge)[y : y + INPUT_SIZE, x : x + INPUT_SIZE]
        chosen = [kind for kind in kinds if kind == "text"] + (["damage"] if rng.random() < 0.6 else [])
        done = obstruct(np.ascontiguousarray(part), chosen, part, "slight" if recipe == "heavy" else recipe, rng)
        valid = np.ones((INPUT_SIZE, INPUT_SIZE), np.uint8)
        return _sample(done.picture, done.labels(INPUT_SIZE), valid, rng)

    def _face(self, rng: np.random.Generator) -> tuple[Pixels, npt.NDArray[np.bool_]]:
        index = min(int(np.searchsorted(self._cumulative, rng.random())), len(self._cumulative) - 1)
        picture, valid = self.source.face(index), self.source.valid(index)
        if rng.random() < 0.5:
            picture, valid = picture[:, ::-1], valid[:, ::-1]
        return np.ascontiguousarray(picture), valid


def _sample(
    picture: Pixels, labels: npt.NDArray[np.uint8], valid: npt.NDArray[np.uint8], rng: np.random.Generator
) -> dict[str, Any]:
    """Tones of old prints, exposure and storage, then the network's size."""
    if rng.random() < 0.3:
        grey = picture.mean(2, keepdims=True) / 255
        tint = np.array([1.0, 1.0, 1.0]) if rng.random() < 0.5 else np.array([1.0, 0.9, 0.72]) + rng.normal(0, 0.04, 3)
        picture = to_integer(grey ** rng.uniform(0.7, 1.4) * tint)
    if rng.random() < 0.3:
        picture = change_exposure(picture, rng)
    if rng.random() < 0.4:
        picture = jpeg(picture, int(rng.integers(60, 98)))
    return {
        "input": torch.from_numpy(np.array(resize(picture, INPUT_SIZE, INPUT_SIZE))),
        "labels": torch.from_numpy(labels.astype(np.int64)),
        "valid": torch.from_numpy(valid.astype(bool)),
    }
