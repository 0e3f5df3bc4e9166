"""Pairs of poor and good faces for training and validation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset, Sampler, default_collate

from likeness.data.drawn import draw_face
from likeness.data.faces import resize_face
from likeness.data.recipes import FILM, Drawn, apply, draw, jpeg, recipe_named
from likeness.errors import ConfigError
from likeness.types import Pixels

SIZE, INPUT = 512, 256


class FaceSource(Protocol):
    """Good faces by number."""

    def __len__(self) -> int: ...

    def face(self, index: int) -> Pixels:
        """(512, 512, 3) uint8."""
        ...

    def sharp(self, index: int) -> bool:
        """Whether it is a truth at 512, not only at 256."""
        ...


@dataclass(frozen=True)
class ArraySource:
    """Faces in an array (N, 512, 512, 3), usually a memory map."""

    pixels: np.ndarray
    sharps: Sequence[bool]

    def __len__(self) -> int:
        return len(self.pixels)

    def face(self, index: int) -> Pixels:
        """(512, 512, 3) uint8."""
        return np.asarray(self.pixels[index])

    def sharp(self, index: int) -> bool:
        """Whether it is a truth at 512."""
        return bool(self.sharps[index])


@dataclass(frozen=True)
class DrawnSource:
    """`count` drawn faces; needs no data."""

    count: int
    first_seed: int = 0

    def __len__(self) -> int:
        return self.count

    def face(self, index: int) -> Pixels:
        """(512, 512, 3) uint8."""
        return draw_face(SIZE, self.first_seed + index)

    def sharp(self, index: int) -> bool:
        """Drawings are sharp."""
        return True


@dataclass(frozen=True)
class MixConfig:
    """How training pairs are made.

    Attributes:
        recipes: share of each recipe; `clean` is the face itself.
        codec: share of samples that pass H.264 or a palette after their recipe.
        soft: share of samples whose truth itself is softened: good photographs are often soft, and
            a network that saw none, or of one kind only, sharpens them all.
        jitter: share of crops moved by up to 2 % shift, 4 degrees, 4 % scale, because landmarks
            found on poor faces are off by as much.
    """

    recipes: Mapping[str, float] = field(
        default_factory=lambda: {
            "gfpgan": 0.33,
            "heavy": 0.25,
            "mild": 0.18,
            "slight": 0.06,
            "resampled": 0.06,
            "clean": 0.12,
            "film": 0.0,
        }
    )
    codec: float = 0.12
    soft: float = 0.35
    jitter: float = 0.7

    def __post_init__(self) -> None:
        total = sum(self.recipes.values())
        if abs(total - 1) > 1e-6:
            raise ConfigError(f"data.mix.recipes: the shares sum to {total:.3f}, expected 1")
        check_recipes(self.recipes)
        for name in ("codec", "soft", "jitter"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"data.mix.{name}: got {getattr(self, name)}, expected a share from 0 to 1")


def check_recipes(names: Iterable[str]) -> None:
    """Raises ConfigError for an unknown recipe now, not an epoch later."""
    for name in names:
        if name != "clean":
            recipe_named(name)


class SampleNumbers(Sampler[int]):
    """Numbers of samples, new ones every epoch: number n always means the same pair.

    Args:
        length: numbers in one epoch, over all processes.
        rank, world: this process and how many there are; each takes every `world`-th number.
    """

    def __init__(self, length: int, rank: int = 0, world: int = 1) -> None:
        self.length, self.rank, self.world, self.epoch = length, rank, world, 0
        self._skip: tuple[int, int] = (-1, 0)  # epoch, numbers of it that are done

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of each epoch."""
        self.epoch = epoch

    def skip(self, epoch: int, count: int) -> None:
        """Leaves out the first `count` numbers that this process would take in `epoch`."""
        self._skip = epoch, count

    def skipped(self) -> int:
        """How many numbers the present epoch leaves out."""
        return self._skip[1] if self._skip[0] == self.epoch else 0

    def __len__(self) -> int:
        return self.length // self.world

    def __iter__(self) -> Iterator[int]:
        first = self.epoch * self.length + self.rank
        return iter(range(first, first + len(self) * self.world, self.world)[self.skipped() :])


class TrainingPairs(Dataset[dict[str, Any]]):
    """Endless pairs; sample n is a pure function of (seed, n), whatever the worker or the order.

    Args:
        source: the faces.
        mix: how they are degraded.
        weights: how often each face is drawn, relative to the others; None = equally.
        seed: another seed, other pairs.
        length: pairs in one (virtual) epoch; larger numbers are as good.
    """

    def __init__(
        self, source: FaceSource, mix: MixConfig, weights: Sequence[float] | None, seed: int, length: int
    ) -> None:
        self.source, self.mix, self.seed, self.length = source, mix, seed, length
        w = np.ones(len(source)) if weights is None else np.asarray(weights, np.float64)
        self.cumulative = np.cumsum(w / w.sum())
        self.names = list(mix.recipes)
        self.shares = np.cumsum([mix.recipes[name] for name in self.names])

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> dict[str, Any]:
        rng = np.random.default_rng([self.seed, number])
        index = min(int(np.searchsorted(self.cumulative, rng.random())), len(self.source) - 1)
        truth, sharp = self.source.face(index), self.source.sharp(index)
        if rng.random() < 0.5:
            truth = truth[:, ::-1]
        if rng.random() < self.mix.jitter:
            truth = jitter(truth, rng)
        if rng.random() < self.mix.soft:
            truth, sharp = soften(truth, float(rng.uniform(1.1, 4.5 if sharp else 2.2)), rng), False
        name = self.names[min(int(np.searchsorted(self.shares, rng.random())), len(self.names) - 1)]
        codec = "either" if rng.random() < self.mix.codec else None
        return pair(truth, sharp, name, rng, codec)


class FixedPairs(Dataset[dict[str, Any]]):
    """Every face with every recipe, the same pairs each time."""

    def __init__(self, source: FaceSource, recipes: Sequence[str], seed: int) -> None:
        check_recipes(recipes)
        self.source, self.recipes, self.seed = source, list(recipes), seed

    def __len__(self) -> int:
        return len(self.source) * len(self.recipes)

    def __getitem__(self, number: int) -> dict[str, Any]:
        index, which = divmod(number, len(self.recipes))
        rng = np.random.default_rng([self.seed, index, which])
        return pair(self.source.face(index), self.source.sharp(index), self.recipes[which], rng)


def pair(truth: Pixels, sharp: bool, recipe: str, rng: np.random.Generator, codec: str | None = None) -> dict[str, Any]:
    """One sample: `truth` (512, 512, 3) and `input` (256, 256, 3) uint8 tensors, `sharp`, `drawn`."""
    drawn = draw(recipe, rng, codec)
    poor = apply(resize_face(truth, INPUT), drawn, rng)
    return {
        "truth": torch.from_numpy(np.array(truth)),
        "input": torch.from_numpy(np.array(poor)),
        "sharp": torch.tensor(sharp),
        "drawn": drawn.to_dict(),
    }


def exchanged(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Collates samples and adds `exchanged` (B, 256, 256, 3) uint8: each truth, poor as the next one's input is.

    The last one takes the first one's degradation. The noise is drawn from the pictures: the same samples give the
    same batch.
    """
    batch: dict[str, Any] = default_collate(list(samples))
    poor = []
    for here, following in zip(samples, [*samples[1:], samples[0]], strict=True):
        truth = resize_face(here["truth"].numpy(), INPUT)
        rng = np.random.default_rng([int(truth.sum()), int(following["input"].sum())])
        poor.append(torch.from_numpy(np.array(apply(truth, Drawn(**following["drawn"]), rng))))
    return batch | {"exchanged": torch.stack(poor)}


def neighbouring(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Collates samples and adds `neighbour` (B, 256, 256, 3) uint8: what the next frame of a clip would show.

    The same face in the same place, its degradation the same, its noise another; of a film (`data.recipes`), the
    frame after, or before the last one. The noise is drawn from the pictures: the same samples give the same batch.
    """
    batch: dict[str, Any] = default_collate(list(samples))
    poor = []
    for sample in samples:
        truth, drawn = resize_face(sample["truth"].numpy(), INPUT), Drawn(**sample["drawn"])
        rng = np.random.default_rng([int(truth.sum()), int(sample["input"].sum())])
        after = replace(drawn, frame=drawn.frame + (1 if drawn.frame + 1 < FILM else -1))
        poor.append(torch.from_numpy(np.array(apply(truth, after, rng))))
    return batch | {"neighbour": torch.stack(poor)}


def jitter(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Moves a square crop by up to 2 % shift, 4 degrees and 4 % scale about its centre."""
    size = image.shape[0]
    centre = ((size - 1) / 2, (size - 1) / 2)
    matrix = cv2.getRotationMatrix2D(centre, float(rng.uniform(-4, 4)), float(rng.uniform(0.96, 1.04)))
    matrix[:, 2] += rng.uniform(-0.02, 0.02, 2) * size
    return cv2.warpAffine(
        np.ascontiguousarray(image), matrix, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )


def soften(image: Pixels, factor: float, rng: np.random.Generator) -> Pixels:
    """A photograph that was soft from the start: its lens blurred it, its file was enlarged, or both by parts.

    Args:
        image: square, HWC uint8; not changed.
        factor: how much detail goes, as a factor of the size; 1 = none.
        rng: draws the parts, the interpolation, and whether the file was a JPEG.
    """
    size = image.shape[0]
    lens = float(np.clip(rng.uniform(-0.5, 1.5), 0, 1))  # a quarter each: the file alone, the lens alone
    small = round(size / factor ** (1 - lens))
    # A Gaussian of sigma s leaves about the detail of a picture smaller by sqrt(1 + 4 s^2).
    sigma = 0.5 * (factor ** (2 * lens) - 1) ** 0.5
    out = np.ascontiguousarray(image)
    if sigma > 0:
        out = cv2.GaussianBlur(out, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    if small < size:
        out = cv2.resize(out, (small, small), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.4:
        out = jpeg(out, int(rng.integers(75, 98)))
    enlarge = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)[int(rng.integers(3))]
    return cv2.resize(out, (size, size), interpolation=enlarge) if small < size else out
