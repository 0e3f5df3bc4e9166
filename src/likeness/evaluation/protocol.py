"""The protocol: degrade every face once, restore it by every method, measure it at both sizes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from likeness.data.degradations.stills import degrade
from likeness.data.photos import simulate_photo
from likeness.evaluation import scores as stored
from likeness.evaluation.benchmarks import Benchmark, Sample
from likeness.evaluation.guarding import ACCEPTED, Guard
from likeness.evaluation.measures import Measures, Truth
from likeness.evaluation.methods import INPUT, Method, at_both_sizes
from likeness.evaluation.scores import TRUTH, Places, Run, Scores
from likeness.ops.color import to_float, to_integer
from likeness.ops.geometry import scale_of
from likeness.stages.align import align, align_with
from likeness.stages.measure import measure
from likeness.types import Crop, FloatArray, Pixels, Profile

SIZES = (256, 512)


def poor_face(sample: Sample, recipe: str, seed: int) -> tuple[FloatArray, Profile]:
    """What methods are given, a degraded 256 crop or whole frame, and what the router would measure of the face.

    Drawn from seed, recipe and name, so order and limit do not matter.
    """
    digest = hashlib.sha256(f"{recipe}/{sample.name}".encode()).digest()
    rng = np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])
    if sample.photo is not None:
        photo, landmarks = simulate_photo(sample.photo, sample.width, recipe, rng)
        crop = align(photo, landmarks, 256)
        return crop.image, measure(photo, crop)
    if sample.frame is not None and sample.matrix is not None:
        # The recipe's numbers are for a crop of 256: the frame is brought to that scale, and back.
        (height, width), scale = sample.frame.shape[:2], scale_of(sample.matrix)
        poor = degrade(_resized(sample.frame, round(width * scale), round(height * scale)), recipe, rng)[0]
        frame = _resized(poor, width, height)
        return to_float(frame), measure(frame, align_with(frame, sample.matrix, 256))
    pixels = degrade(sample.truth_256, recipe, rng)[0]
    image = to_float(pixels)
    whole = Crop(image, np.eye(2, 3))
    return image, replace(measure(pixels, whole), width=sample.width)


def evaluate_methods(
    benchmark: Benchmark,
    methods: Sequence[Method],
    recipes: Sequence[str],
    measures: Measures,
    seed: int = 0,
    batch_size: int = 8,
    progress: Callable[[int], None] | None = None,
    parts: Path | None = None,
    guard: Guard | None = None,
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
        parts: folder that keeps each finished batch, from which an interrupted run goes on; None keeps none.
        guard: asked about every crop that an expert restored; None leaves it out.

    Returns:
        The figures of every image.
    """
    found = []
    for start in range(0, len(benchmark), batch_size):
        stop = min(start + batch_size, len(benchmark))
        file = parts / f"{start}-{stop}.npz" if parts else None
        if file and file.is_file():
            found.append(stored.load(file))
            if progress:
                progress((stop - start) * len(methods) * len(recipes))
            continue
        samples = [benchmark.load(i) for i in range(start, stop)]
        found.append(_evaluate_batch(samples, methods, recipes, measures, seed, progress, guard))
        if file:
            stored.save(found[-1], file)
    return stored.join(found)


def _evaluate_batch(
    samples: Sequence[Sample],
    methods: Sequence[Method],
    recipes: Sequence[str],
    measures: Measures,
    seed: int,
    progress: Callable[[int], None] | None,
    guard: Guard | None,
) -> Scores:
    count = len(samples)
    scores = Scores([s.name for s in samples], np.array([s.group for s in samples], dtype="U32"), {})
    truths: dict[int, tuple[Places, Truth]] = {}
    for size in SIZES:
        inside = np.array([i for i, s in enumerate(samples) if _truth(s, size) is not None], dtype=np.intp)
        scores.sizes[size] = np.isin(np.arange(count), inside)
        if len(inside):
            valid = _valid([samples[i] for i in inside], size)
            truths[size] = inside, measures.truth(_tensor([_truth(samples[i], size) for i in inside]), valid)
            scores.put(Run("", TRUTH, size), inside, {}, measures.vectors(truths[size][1]))
    for recipe in recipes:
        poor = [poor_face(s, recipe, seed) for s in samples]
        crops = [crop for crop, _ in poor]
        scores.inputs[recipe] = np.array([hashlib.sha256(c.tobytes()).hexdigest() for c in crops])
        scores.profiles[recipe] = np.array([astuple(profile) for _, profile in poor])
        accept = guard(at_both_sizes(INPUT, crops, count)[256], [p for _, p in poor]) if guard else None
        for method in methods:
            began = time.perf_counter()
            restored = list(method.run(crops))
            scores.seconds[recipe, method.name] = time.perf_counter() - began
            results = at_both_sizes(method.name, _cut(samples, restored), count)
            for size, (inside, truth) in truths.items():
                values, vectors = measures.compare(results[size][torch.from_numpy(inside)], truth)
                scores.put(Run(recipe, method.name, size), inside, values, vectors)
            if accept and method.expert:
                scores.put(Run(recipe, method.name, 256), np.arange(count), {ACCEPTED: accept(results[256])}, {})
            if any(s.frame is not None for s in samples):
                before = at_both_sizes("input", _cut(samples, crops), count)[256]
                # A face that was missed, or left alone, is as it was.
                changed = (results[256] - before).abs().flatten(1).amax(1) > 1 / 255
                scores.put(Run(recipe, method.name, 256), np.arange(count), {"restored": changed.double().numpy()}, {})
            if progress:
                progress(count)
    return scores


def _cut(samples: Sequence[Sample], pictures: Sequence[FloatArray]) -> list[FloatArray]:
    """The 256 crop of each frame; crops stay as they are."""
    return [
        p if s.matrix is None else align_with(to_integer(p), s.matrix, 256).image
        for s, p in zip(samples, pictures, strict=True)
    ]


def _resized(pixels: Pixels, width: int, height: int) -> Pixels:
    shrink = width < pixels.shape[1]
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_CUBIC)


def _truth(sample: Sample, size: int) -> Pixels | None:
    return sample.truth_256 if size == 256 else sample.truth_512


def _valid(samples: Sequence[Sample], size: int) -> Tensor | None:
    """(B, 1, size, size) bool; None where all of every truth is one."""
    if all(s.valid is None for s in samples):
        return None
    masks = [np.ones((256, 256), np.bool_) if s.valid is None else s.valid for s in samples]
    return torch.from_numpy(np.stack(masks).repeat(size // 256, 1).repeat(size // 256, 2))[:, None]


def _tensor(pictures: Sequence[Pixels | None]) -> Tensor:
    batch = np.stack([to_float(p) for p in pictures if p is not None])
    return torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous()
