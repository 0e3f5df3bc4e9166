"""Batches with swapped degradations and with the next frame of each input."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from likeness.data.collate import Collate
from likeness.data.degradations.recipes import FILM_FRAMES, DegradationParams
from likeness.data.degradations.stills import apply_degradation
from likeness.data.pairs import MixConfig, TrainingPairs
from likeness.data.sources import CartoonSource
from likeness.ops.resize import resize

FILMS = MixConfig(recipes={"film": 1.0}, codec=0, soft_truth=0, inpainting=0)
STILLS = MixConfig(recipes={"gfpgan": 0.5, "clean": 0.5}, codec=0, soft_truth=0, inpainting=0)
DEGRADED = MixConfig(recipes={"gfpgan": 0.5, "mild": 0.5}, codec=0, soft_truth=0, inpainting=0)


def samples_of(mix: MixConfig, count: int = 4) -> list[dict[str, Any]]:
    pairs = TrainingPairs(CartoonSource(3), mix, None, 5, 8)
    return [pairs[i] for i in range(count)]


def without_noise(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without noise the result depends on the parameters alone."""
    for sample in samples:
        sample["params"]["noise"] = 0.0
    return samples


def degraded(sample: dict[str, Any], params: DegradationParams) -> np.ndarray:
    return apply_degradation(resize(sample["truth"].numpy(), 256, 256), params, np.random.default_rng(0))


def assert_unchanged(batch: dict[str, Any], samples: list[dict[str, Any]], before: list[dict[str, Any]]) -> None:
    for i, sample in enumerate(samples):
        for name in ("truth", "input", "sharp"):
            assert torch.equal(batch[name][i], before[i][name])
            assert torch.equal(sample[name], before[i][name])


def test_swapped_input_has_the_degradation_of_the_next_sample() -> None:
    samples = without_noise(samples_of(DEGRADED, 3))
    before = deepcopy(samples)
    batch = Collate(swap_degradation=True)(samples)
    for i, sample in enumerate(samples):
        params = DegradationParams(**samples[(i + 1) % 3]["params"])
        np.testing.assert_array_equal(batch["swapped_input"][i], degraded(sample, params))
    assert_unchanged(batch, samples, before)


def test_swapped_input_has_reproducible_noise() -> None:
    samples = samples_of(MixConfig(recipes={"gfpgan": 1.0}), 2)
    collate = Collate(swap_degradation=True)
    first, again, reversed_ = (collate(s)["swapped_input"] for s in (samples, samples, samples[::-1]))
    assert torch.equal(first, again)
    assert torch.equal(first, reversed_.flip(0))  # of two samples each is the other's next one


@pytest.mark.parametrize("mix", [FILMS, STILLS], ids=["films", "stills"])
def test_next_input_is_the_neighbouring_frame_of_the_same_face(mix: MixConfig) -> None:
    samples = without_noise(samples_of(mix))
    samples[0]["params"]["frame"] = FILM_FRAMES - 1  # no frame follows the last one
    before = deepcopy(samples)
    batch = Collate(frame_pairs=True)(samples)
    for i, sample in enumerate(samples):
        params = DegradationParams(**sample["params"])
        last = params.frame == FILM_FRAMES - 1
        neighbour = replace(params, frame=FILM_FRAMES - 2 if last else params.frame + 1)
        np.testing.assert_array_equal(batch["next_input"][i], degraded(sample, neighbour))
    assert_unchanged(batch, samples, before)


def test_next_input_has_new_and_reproducible_noise() -> None:
    noisy = [s for s in samples_of(FILMS) if s["params"]["noise"] > 1]
    first, again = Collate(frame_pairs=True)(noisy), Collate(frame_pairs=True)(noisy)
    assert len(noisy)
    assert torch.equal(first["next_input"], again["next_input"])
    difference = (first["next_input"].float() - first["input"].float()).abs().mean((1, 2, 3))
    assert (difference > 0.3).all()


def test_both_options_together_give_the_same_inputs_as_each_alone() -> None:
    samples = samples_of(STILLS)
    both = Collate(swap_degradation=True, frame_pairs=True)(samples)
    assert torch.equal(both["swapped_input"], Collate(swap_degradation=True)(samples)["swapped_input"])
    assert torch.equal(both["next_input"], Collate(frame_pairs=True)(samples)["next_input"])
