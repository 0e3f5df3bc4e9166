"""The protocol for faces: degrade every face once, restore it by every method, measure it at both sizes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from likeness.data.degradations.stills import degrade
from likeness.data.photos import degraded_frame, draw_rng, simulate_photo
from likeness.evaluation import scores as stored
from likeness.evaluation.benchmarks.base import CROP, LARGE, Benchmark, Sample
from likeness.evaluation.methods.base import INPUT, Method, at_both_sizes, clipped_batch
from likeness.evaluation.protocol.guard import ACCEPTED
from likeness.evaluation.protocol.measures import Measures, Truth
from likeness.evaluation.scores import TRUTH, Places, Run, Scores
from likeness.ops.color import to_float, to_integer
from likeness.ops.resize import resize
from likeness.stages.align import align, align_with
from likeness.stages.measure import measure
from likeness.types import Crop, FloatArray, Pixels, Profile


@dataclass(frozen=True)
class Batches:
    """How a benchmark is worked through.

    Attributes:
        size: faces at a time.
        folder: keeps each finished batch, so that an interrupted run goes on from it; None keeps none.
        progress: called after each batch, recipe and method with the number of faces just done.
    """

    size: int = 8
    folder: Path | None = None
    progress: Callable[[int], None] = lambda count: None


def degraded_face(sample: Sample, recipe: str, seed: int) -> tuple[FloatArray, Profile]:
    """The input of the methods, a degraded 256 crop or whole frame, and the face's profile as the router measures it.

    Drawn from seed, recipe and name, so order and limit do not matter.
    """
    rng = draw_rng(seed, recipe, sample.name)
    if sample.photo is not None:
        photo, landmarks = simulate_photo(sample.photo, sample.width, recipe, rng)
        crop = align(photo, landmarks, CROP)
        return crop.image, measure(photo, crop)
    if sample.frame is not None and sample.matrix is not None:
        height, width = sample.frame.shape[:2]
        frame = resize(degraded_frame(sample.frame, sample.matrix, recipe, rng), width, height)
        return to_float(frame), measure(frame, align_with(frame, sample.matrix, CROP))
    pixels = degrade(sample.truth_256, recipe, rng)[0]
    image = to_float(pixels)
    return image, replace(measure(pixels, Crop(image, np.eye(2, 3))), width=sample.width)


def evaluate_methods(
    benchmark: Benchmark,
    methods: Sequence[Method],
    recipes: Sequence[str],
    measures: Measures,
    seed: int = 0,
    batches: Batches | None = None,
) -> Scores:
    """Runs the protocol.

    Memory holds one batch of pictures and, per image, its figures and spectra.

    Args:
        benchmark: the faces.
        methods: how they are restored.
        recipes: named degradations.
        measures: the networks that measure.
        seed: of the degradations.
        batches: their size, where they are kept, and the progress.

    Returns:
        The figures of every image.
    """
    how = batches or Batches()
    parts = []
    for start in range(0, len(benchmark), how.size):
        stop = min(start + how.size, len(benchmark))
        file = how.folder / f"{start}-{stop}.npz" if how.folder else None
        if file and file.is_file():
            parts.append(stored.load(file))
            how.progress((stop - start) * len(methods) * len(recipes))
            continue
        samples = [benchmark.load(i) for i in range(start, stop)]
        scores, truths = _measure_truths(samples, measures)
        for recipe in recipes:
            _evaluate_recipe(scores, samples, truths, methods, recipe, measures, seed, how.progress)
        parts.append(scores)
        if file:
            stored.save(scores, file)
    return stored.join(parts)


def _measure_truths(samples: Sequence[Sample], measures: Measures) -> tuple[Scores, Mapping[int, tuple[Places, Truth]]]:
    """Scores with the truths' vectors; by size, the positions of the samples that have such a truth, and the truths."""
    count = len(samples)
    scores = Scores([s.name for s in samples], np.array([s.group for s in samples], dtype="U32"), {})
    truths: dict[int, tuple[Places, Truth]] = {}
    for size in (CROP, LARGE):
        inside = np.array([i for i, s in enumerate(samples) if _truth(s, size) is not None], dtype=np.intp)
        scores.sizes[size] = np.isin(np.arange(count), inside)
        if len(inside):
            chosen = [samples[i] for i in inside]
            pictures = [to_float(pixels) for s in chosen if (pixels := _truth(s, size)) is not None]
            truths[size] = inside, measures.truth(clipped_batch(pictures), _valid(chosen, size))
            scores.put(Run("", TRUTH, size), inside, {}, measures.vectors(truths[size][1]))
    return scores, truths


def _evaluate_recipe(
    scores: Scores,
    samples: Sequence[Sample],
    truths: Mapping[int, tuple[Places, Truth]],
    methods: Sequence[Method],
    recipe: str,
    measures: Measures,
    seed: int,
    progress: Callable[[int], None],
) -> None:
    """Adds every method's figures under one recipe."""
    count = len(samples)
    faces = [degraded_face(s, recipe, seed) for s in samples]
    inputs, profiles = [image for image, _ in faces], [profile for _, profile in faces]
    scores.inputs[recipe] = np.array([hashlib.sha256(c.tobytes()).hexdigest() for c in inputs])
    scores.profiles[recipe] = np.array([astuple(profile) for profile in profiles])
    degraded = at_both_sizes(INPUT, _crops(samples, inputs), count)[CROP]
    for method in methods:
        start = time.perf_counter()
        restored = list(method.run(inputs))
        scores.seconds[recipe, method.name] = time.perf_counter() - start
        results = at_both_sizes(method.name, _crops(samples, restored), count)
        for size, (inside, truth) in truths.items():
            values, vectors = measures.compare(results[size][torch.from_numpy(inside)], truth)
            scores.put(Run(recipe, method.name, size), inside, values, vectors)
        extra = {}
        if measures.guard and method.expert:
            extra[ACCEPTED] = measures.guard(degraded, results[CROP], profiles)
        if any(s.frame is not None for s in samples):
            # A face that was missed, or left alone, is as it was.
            changed = (results[CROP] - degraded).abs().flatten(1).amax(1) > 1 / 255
            extra["restored"] = changed.double().numpy()
        scores.put(Run(recipe, method.name, CROP), np.arange(count), extra, {})
        progress(count)


def _crops(samples: Sequence[Sample], pictures: Sequence[FloatArray]) -> list[FloatArray]:
    """The 256 crop of each frame; crops stay as they are."""
    return [
        p if s.matrix is None else align_with(to_integer(p), s.matrix, CROP).image
        for s, p in zip(samples, pictures, strict=True)
    ]


def _truth(sample: Sample, size: int) -> Pixels | None:
    return sample.truth_256 if size == CROP else sample.truth_512


def _valid(samples: Sequence[Sample], size: int) -> Tensor | None:
    """(B, 1, size, size) bool; None where all of every truth is one."""
    if all(s.valid is None for s in samples):
        return None
    masks = [np.ones((CROP, CROP), np.bool_) if s.valid is None else s.valid for s in samples]
    return torch.from_numpy(np.stack(masks).repeat(size // CROP, 1).repeat(size // CROP, 2))[:, None]
