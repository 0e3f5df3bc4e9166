"""The protocol: degrade every face once, restore it by every method, measure it at both sizes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from likeness.data.recipes import degrade
from likeness.evaluation.benchmarks import Benchmark, Sample, View
from likeness.evaluation.measures import Measures, Truth, Values
from likeness.evaluation.methods import Method, at_both_sizes
from likeness.metrics.lattice import axis_power
from likeness.ops.color import to_float
from likeness.types import Pixels

SIZES = (256, 512)
TRUTH = "truth"  # the ground truth's row, for figures that need no comparison


class Run(NamedTuple):
    """One method on one recipe, seen at one size."""

    recipe: str
    method: str
    size: int


@dataclass
class Scores:
    """Figures per image; nan where an image has no truth of that size or no face was found.

    Attributes:
        names: of the images.
        groups: of the images, (N,).
        sizes: size to (N,) bool, whether there is a truth of that size.
        values: run to metric to (N,).
        power: run to (N, 2, S/2 + 1) spectra; the truth's under recipe "" and method "truth".
        seconds: (recipe, method) to seconds spent in the method.
    """

    names: Sequence[str]
    groups: npt.NDArray[np.str_]
    sizes: dict[int, npt.NDArray[np.bool_]]
    values: dict[Run, dict[str, Values]] = field(default_factory=dict)
    power: dict[Run, Values] = field(default_factory=dict)
    seconds: dict[tuple[str, str], float] = field(default_factory=dict)

    def select(self, view: View) -> npt.NDArray[np.bool_]:
        """(N,) the images of a view."""
        chosen = self.sizes[view.size]
        return chosen if view.group is None else chosen & (self.groups == view.group)

    def put(self, run: Run, at: npt.NDArray[np.intp], values: dict[str, Values], power: Values) -> None:
        """Enters the figures of the images at positions `at`."""
        table = self.values.setdefault(run, {})
        for metric, found in values.items():
            table.setdefault(metric, np.full(len(self.names), np.nan))[at] = found
        self.put_power(run, at, power)

    def put_power(self, run: Run, at: npt.NDArray[np.intp], power: Values) -> None:
        """Enters the spectra of the images at positions `at`."""
        store = self.power.setdefault(run, np.full((len(self.names), *power.shape[1:]), np.nan))
        store[at] = power


def degraded(pixels: Pixels, name: str, recipe: str, seed: int) -> Pixels:
    """A 256 crop degraded by a recipe; drawn from seed, recipe and name, so order and limit do not matter."""
    digest = hashlib.sha256(f"{recipe}/{name}".encode()).digest()
    return degrade(pixels, recipe, np.random.default_rng([seed, int.from_bytes(digest[:8], "big")]))[0]


def evaluate_methods(
    benchmark: Benchmark,
    methods: Sequence[Method],
    recipes: Sequence[str],
    measures: Measures,
    seed: int = 0,
    batch_size: int = 8,
    progress: Callable[[int], None] | None = None,
) -> Scores:
    """Runs the protocol.

    Memory holds one batch of pictures and, per image, its figures and spectra.

    Args:
        benchmark: the faces.
        methods: what restores.
        recipes: named degradations.
        measures: what measures.
        seed: of the degradations.
        batch_size: faces at a time.
        progress: told after each batch, recipe and method how many faces were done.

    Returns:
        The figures of every image.
    """
    total = len(benchmark)
    scores = Scores(benchmark.names, np.full(total, "", dtype="U32"), {s: np.zeros(total, bool) for s in SIZES})
    for start in range(0, total, batch_size):
        at = np.arange(start, min(start + batch_size, total))
        samples = [benchmark.load(int(i)) for i in at]
        scores.groups[at] = [s.group for s in samples]
        truths: dict[int, tuple[npt.NDArray[np.intp], Truth]] = {}
        for size in SIZES:
            inside = np.array([i for i, s in enumerate(samples) if _truth(s, size) is not None], dtype=np.intp)
            if len(inside):
                truths[size] = inside, measures.truth(_tensor([_truth(samples[i], size) for i in inside]))
                scores.sizes[size][at[inside]] = True
                power = axis_power(truths[size][1].images).cpu().numpy()
                scores.put_power(Run("", TRUTH, size), at[inside], power)
        for recipe in recipes:
            crops = [to_float(degraded(s.truth_256, s.name, recipe, seed)) for s in samples]
            for method in methods:
                began = time.perf_counter()
                restored = list(method.run(crops))
                key = recipe, method.name
                scores.seconds[key] = scores.seconds.get(key, 0.0) + time.perf_counter() - began
                results = at_both_sizes(method.name, restored, len(crops))
                for size, (inside, truth) in truths.items():
                    values, power = measures.compare(results[size][torch.from_numpy(inside)], truth)
                    scores.put(Run(recipe, method.name, size), at[inside], dict(values), power)
                if progress:
                    progress(len(at))
    return scores


def _truth(sample: Sample, size: int) -> Pixels | None:
    return sample.truth_256 if size == 256 else sample.truth_512


def _tensor(pictures: Sequence[Pixels | None]) -> Tensor:
    batch = np.stack([to_float(p) for p in pictures if p is not None])
    return torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous()
