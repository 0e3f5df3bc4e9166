"""Pairs of a degraded input and its ground truth, for training and validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from likeness.data.augment import change_exposure, jitter_crop, jitter_valid, sample_jitter, soften
from likeness.data.degradations.masks import MASK_KINDS, sample_mask
from likeness.data.degradations.recipes import DegradationParams, add_second_order, check_recipes, sample_params
from likeness.data.degradations.stills import apply_degradation
from likeness.data.sources import INPUT_SIZE, FaceSource
from likeness.errors import ConfigError
from likeness.ops.fill import fill_smoothly
from likeness.ops.resize import resize
from likeness.types import Pixels


@dataclass(frozen=True)
class MixConfig:
    """Probabilities, 0..1, with which training pairs are augmented and degraded.

    Attributes:
        recipes: of each recipe, with sum 1; "clean" is the face itself.
        codec: that a sample passes H.264, WebP, AVIF or a GIF palette after its recipe.
        soft_truth: that the ground truth is softened. Good photographs are often soft; a network that saw none, or of
            one kind only, sharpens them all.
        jitter: that the crop is shifted by up to 2 %, turned by up to 4 degrees and scaled by up to 4 %, since
            landmarks found on degraded faces err by as much.
        second_order: that a `heavy` sample is degraded a second time, more mildly.
        exposure: that input and truth alike are darkened (down to 0.4) or slightly brightened, and tinted.
        inpainting: that a part of the input is masked out and filled smoothly.
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
    soft_truth: float = 0.3
    jitter: float = 0.7
    second_order: float = 0.3
    exposure: float = 0.2
    inpainting: float = 0.1

    def __post_init__(self) -> None:
        total = sum(self.recipes.values())
        if abs(total - 1) > 1e-6:
            raise ConfigError(f"data.mix.recipes: the probabilities sum to {total:.3f}, expected 1; change one of them")
        check_recipes(self.recipes)
        for name in ("codec", "soft_truth", "jitter", "second_order", "exposure", "inpainting"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"data.mix.{name}: got {getattr(self, name)}, expected a probability from 0 to 1")


class TrainingPairs(Dataset[dict[str, Any]]):
    """Endless pairs. Sample n depends on the seed and n alone, whatever the worker or the order.

    Args:
        source: the faces.
        mix: how they are augmented and degraded.
        weights: sampling weight of each face; None = equal weights.
        seed: another seed gives other pairs.
        length: pairs in one (virtual) epoch; sample numbers may exceed it.
    """

    def __init__(
        self, source: FaceSource, mix: MixConfig, weights: Sequence[float] | None, seed: int, length: int
    ) -> None:
        self.source, self.mix, self.seed, self.length = source, mix, seed, length
        w = np.ones(len(source)) if weights is None else np.asarray(weights, np.float64)
        self._cumulative_weights = np.cumsum(w / w.sum())
        self._recipes = list(mix.recipes)
        self._cumulative_recipes = np.cumsum([mix.recipes[name] for name in self._recipes])

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> dict[str, Any]:
        rng, mix = np.random.default_rng([self.seed, number]), self.mix
        index = _sample_index(self._cumulative_weights, rng)
        truth, sharp, valid = self.source.face(index), self.source.sharp(index), self.source.valid(index)
        if rng.random() < 0.5:
            truth, valid = truth[:, ::-1], valid[:, ::-1]
        if rng.random() < mix.jitter:
            jitter = sample_jitter(rng)
            truth, valid = jitter_crop(truth, jitter), jitter_valid(valid, jitter)
        if rng.random() < mix.exposure:
            truth = change_exposure(truth, rng)
        if rng.random() < mix.soft_truth:
            truth, sharp = soften(truth, float(rng.uniform(1.1, 4.5 if sharp else 2.2)), rng), False
        recipe = self._recipes[_sample_index(self._cumulative_recipes, rng)]
        params = sample_params(recipe, rng, "either" if rng.random() < mix.codec else None)
        if recipe == "heavy" and rng.random() < mix.second_order:
            params = add_second_order(params, rng)
        unknown = None
        if rng.random() < mix.inpainting:
            unknown = sample_mask(MASK_KINDS[int(rng.integers(len(MASK_KINDS)))], INPUT_SIZE, rng)
        return make_pair(truth, sharp, params, rng, valid, unknown)


def _sample_index(cumulative: np.ndarray, rng: np.random.Generator) -> int:
    # Rounding may leave the last sum slightly below 1.
    return min(int(np.searchsorted(cumulative, rng.random())), len(cumulative) - 1)


class FixedPairs(Dataset[dict[str, Any]]):
    """Every face with every recipe, always the same pairs; for validation."""

    def __init__(self, source: FaceSource, recipes: Sequence[str], seed: int) -> None:
        check_recipes(recipes)
        self.source, self.recipes, self.seed = source, list(recipes), seed

    def __len__(self) -> int:
        return len(self.source) * len(self.recipes)

    def __getitem__(self, number: int) -> dict[str, Any]:
        face, recipe = divmod(number, len(self.recipes))
        rng = np.random.default_rng([self.seed, face, recipe])
        params = sample_params(self.recipes[recipe], rng)
        return make_pair(self.source.face(face), self.source.sharp(face), params, rng, self.source.valid(face))


def make_pair(
    truth: Pixels,
    sharp: bool,
    params: DegradationParams,
    rng: np.random.Generator,
    valid: np.ndarray,
    unknown: np.ndarray | None = None,
) -> dict[str, Any]:
    """Degrades a face.

    Args:
        truth: (512, 512, 3) uint8.
        sharp: whether it is ground truth at 512 px.
        params: of the degradation.
        rng: source of the noise alone.
        valid: (256, 256) bool, True where the truth is one.
        unknown: (256, 256) bool, True where the input is masked out; None = nowhere.

    Returns:
        Tensors `truth` (512, 512, 3) and `input` (256, 256, 3) uint8, `sharp`, `valid` and `unknown` bool, and the
        degradation's `params` as plain data.
    """
    degraded = apply_degradation(resize(truth, INPUT_SIZE, INPUT_SIZE), params, rng)
    if unknown is not None:
        degraded = fill_smoothly(degraded, unknown)
    return {
        "truth": torch.from_numpy(np.array(truth)),
        "input": torch.from_numpy(np.array(degraded)),
        "sharp": torch.tensor(sharp),
        "valid": torch.from_numpy(np.array(valid)),
        "unknown": torch.from_numpy(np.array(unknown) if unknown is not None else np.zeros_like(valid)),
        "params": params.to_dict(),
    }
