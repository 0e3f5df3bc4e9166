"""Pairs of poor and good faces for training and validation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler, default_collate

from likeness.data.drawn import draw_face
from likeness.data.faces import FaceRecord, resize_face, valid_mask
from likeness.data.recipes import FILM, Drawn, apply, draw, jpeg, recipe_named, with_second_round
from likeness.data.unknown import KINDS, draw_unknown
from likeness.errors import ConfigError
from likeness.ops.fill import fill_smoothly
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

    def valid(self, index: int) -> np.ndarray:
        """(256, 256) bool: where it is a truth; the rest is mirrored."""
        ...


@dataclass(frozen=True)
class ArraySource:
    """Faces in an array (N, 512, 512, 3), usually a memory map, and their records."""

    pixels: np.ndarray
    records: Sequence[FaceRecord]

    def __len__(self) -> int:
        return len(self.pixels)

    def face(self, index: int) -> Pixels:
        """(512, 512, 3) uint8."""
        return np.asarray(self.pixels[index])

    def sharp(self, index: int) -> bool:
        """Whether it is a truth at 512."""
        return self.records[index].sharp

    def valid(self, index: int) -> np.ndarray:
        """(256, 256) bool."""
        record = self.records[index]
        return valid_mask(record.valid_box, record.size, INPUT)


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

    def valid(self, index: int) -> np.ndarray:
        """(256, 256) bool, all True."""
        return valid_mask(None, SIZE, INPUT)


@dataclass(frozen=True)
class MixConfig:
    """How training pairs are made.

    Attributes:
        recipes: share of each recipe; `clean` is the face itself.
        codec: share of samples that pass H.264, WebP, AVIF or a palette after their recipe.
        second: share of the `heavy` samples that go through a second, milder round.
        light: share of faces that are darkened (down to 0.4) or brightened a little, and tinted; truth and input alike.
        unknown: share of samples of which a part is unknown, and filled smoothly.
        soft: share of samples whose truth itself is softened: good photographs are often soft, and
            a network that saw none, or of one kind only, sharpens them all.
        jitter: share of crops moved by up to 2 % shift, 4 degrees, 4 % scale, because landmarks
            found on poor faces are off by as much.
    """

    recipes: Mapping[str, float] = field(
        default_factory=lambda: {
            "gfpgan": 0.25,
            "heavy": 0.22,
            "mild": 0.12,
            "slight": 0.04,
            "resampled": 0.04,
            "clean": 0.07,
            "film": 0.26,
        }
    )
    codec: float = 0.15
    soft: float = 0.3
    jitter: float = 0.7
    second: float = 0.3
    light: float = 0.2
    unknown: float = 0.1

    def __post_init__(self) -> None:
        total = sum(self.recipes.values())
        if abs(total - 1) > 1e-6:
            raise ConfigError(f"data.mix.recipes: the shares sum to {total:.3f}, expected 1")
        check_recipes(self.recipes)
        for name in ("codec", "soft", "jitter", "second", "light", "unknown"):
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
        truth, sharp, valid = self.source.face(index), self.source.sharp(index), self.source.valid(index)
        if rng.random() < 0.5:
            truth, valid = truth[:, ::-1], valid[:, ::-1]
        if rng.random() < self.mix.jitter:
            move = draw_jitter(rng)
            truth, valid = jitter(truth, move), jitter_valid(valid, move)
        if rng.random() < self.mix.light:
            truth = relight(truth, rng)
        if rng.random() < self.mix.soft:
            truth, sharp = soften(truth, float(rng.uniform(1.1, 4.5 if sharp else 2.2)), rng), False
        name = self.names[min(int(np.searchsorted(self.shares, rng.random())), len(self.names) - 1)]
        drawn = draw(name, rng, "either" if rng.random() < self.mix.codec else None)
        if name == "heavy" and rng.random() < self.mix.second:
            drawn = with_second_round(drawn, rng)
        unknown = None
        if rng.random() < self.mix.unknown:
            unknown = draw_unknown(KINDS[int(rng.integers(len(KINDS)))], INPUT, rng)
        return pair(truth, sharp, drawn, rng, valid, unknown)


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
        drawn = draw(self.recipes[which], rng)
        return pair(self.source.face(index), self.source.sharp(index), drawn, rng, self.source.valid(index))


def pair(
    truth: Pixels,
    sharp: bool,
    drawn: Drawn,
    rng: np.random.Generator,
    valid: np.ndarray,
    unknown: np.ndarray | None = None,
) -> dict[str, Any]:
    """One sample.

    Args:
        truth: (512, 512, 3) uint8.
        sharp: whether it is a truth at 512.
        drawn: how it is degraded.
        rng: for the noise alone.
        valid: (256, 256) bool, where it is a truth at all.
        unknown: (256, 256) bool, what the input does not show.

    Returns:
        Tensors `truth`, `input` (256, 256, 3) uint8, `sharp`, `valid` and `unknown` bool; `drawn` as plain data.
    """
    poor = apply(resize_face(truth, INPUT), drawn, rng)
    if unknown is not None:
        poor = fill_smoothly(poor, unknown)
    return {
        "truth": torch.from_numpy(np.array(truth)),
        "input": torch.from_numpy(np.array(poor)),
        "sharp": torch.tensor(sharp),
        "valid": torch.from_numpy(np.array(valid)),
        "unknown": torch.from_numpy(np.array(unknown) if unknown is not None else np.zeros_like(valid)),
        "drawn": drawn.to_dict(),
    }


@dataclass(frozen=True)
class Collate:
    """Samples to a batch, with further inputs of the same faces where asked for.

    Attributes:
        exchange: adds `exchanged`, see there.
        neighbours: adds `neighbour`, see `neighbouring`.
    """

    exchange: bool = False
    neighbours: bool = False

    def __call__(self, samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = default_collate(list(samples))
        if self.exchange:
            batch["exchanged"] = exchanged(samples)
        if self.neighbours:
            batch["neighbour"] = neighbouring(samples)
        return batch


def exchanged(samples: Sequence[dict[str, Any]]) -> Tensor:
    """(B, 256, 256, 3) uint8: each truth, poor as the next one's input is.

    The last one takes the first one's degradation. The noise is drawn from the pictures: the same samples give the
    same result.
    """
    poor = []
    for here, following in zip(samples, [*samples[1:], samples[0]], strict=True):
        truth = resize_face(here["truth"].numpy(), INPUT)
        rng = np.random.default_rng([int(truth.sum()), int(following["input"].sum())])
        poor.append(torch.from_numpy(np.array(apply(truth, Drawn(**following["drawn"]), rng))))
    return torch.stack(poor)


def neighbouring(samples: Sequence[dict[str, Any]]) -> Tensor:
    """(B, 256, 256, 3) uint8: what the next frame of a clip would show.

    The same face in the same place, its degradation the same, its noise another, the same part of it unknown; of a film
    (`data.recipes`), the frame after, or before the last one. The noise is drawn from the pictures: the same samples
    give the same result.
    """
    poor = []
    for sample in samples:
        truth, drawn = resize_face(sample["truth"].numpy(), INPUT), Drawn(**sample["drawn"])
        rng = np.random.default_rng([int(truth.sum()), int(sample["input"].sum())])
        after = replace(drawn, frame=drawn.frame + (1 if drawn.frame + 1 < FILM else -1))
        poor.append(torch.from_numpy(np.array(fill_smoothly(apply(truth, after, rng), sample["unknown"].numpy()))))
    return torch.stack(poor)


class Jitter(NamedTuple):
    """How a crop is moved about its centre: degrees, factor, and shift as a share of its size."""

    angle: float
    scale: float
    x: float
    y: float

    def matrix(self, size: int) -> np.ndarray:
        """(2, 3), for a square of `size` pixels."""
        centre = ((size - 1) / 2, (size - 1) / 2)
        matrix = np.asarray(cv2.getRotationMatrix2D(centre, self.angle, self.scale))
        matrix[:, 2] += np.array((self.x, self.y)) * size
        return matrix


def draw_jitter(rng: np.random.Generator) -> Jitter:
    """Up to 4 degrees, 4 % scale and 2 % shift."""
    return Jitter(float(rng.uniform(-4, 4)), float(rng.uniform(0.96, 1.04)), *rng.uniform(-0.02, 0.02, 2).tolist())


def jitter(image: Pixels, move: Jitter) -> Pixels:
    """Moves a square crop; what comes in from beyond its border is mirrored."""
    size = image.shape[0]
    return cv2.warpAffine(
        np.ascontiguousarray(image),
        move.matrix(size),
        (size, size),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT_101,
    )


def jitter_valid(valid: np.ndarray, move: Jitter) -> np.ndarray:
    """The same for (S, S) bool; what comes in from beyond the border is no truth."""
    size = valid.shape[0]
    moved = cv2.warpAffine(valid.astype(np.uint8), move.matrix(size), (size, size), flags=cv2.INTER_NEAREST)
    return np.asarray(moved > 0)


def relight(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Another exposure (0.4 to 1.15, on the file's values) and a slight tint; HWC uint8, not changed."""
    exposure = math.exp(rng.uniform(math.log(0.4), math.log(1.15)))
    gains = exposure * np.exp(rng.normal(0, 0.04, 3))
    return np.rint(np.clip(image * gains, 0, 255)).astype(np.uint8)


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
