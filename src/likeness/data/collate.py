"""Joins samples to a batch, with further degraded inputs of the same faces where a loss needs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from likeness.data.degradations.recipes import FILM_FRAMES, DegradationParams
from likeness.data.degradations.stills import apply_degradation
from likeness.data.sources import INPUT_SIZE
from likeness.ops.fill import fill_smoothly
from likeness.ops.resize import resize


@dataclass(frozen=True)
class Collate:
    """Joins samples to a batch.

    Attributes:
        swap_degradation: adds `swapped_input`, see `swapped_inputs`.
        frame_pairs: adds `next_input`, see `next_inputs`.
    """

    swap_degradation: bool = False
    frame_pairs: bool = False

    def __call__(self, samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = default_collate(list(samples))
        if self.swap_degradation:
            batch["swapped_input"] = swapped_inputs(samples)
        if self.frame_pairs:
            batch["next_input"] = next_inputs(samples)
        return batch


def swapped_inputs(samples: Sequence[dict[str, Any]]) -> Tensor:
    """Each truth with the degradation of the next sample; the last one gets that of the first.

    The noise is seeded by the pictures, so the same samples give the same result.

    Returns:
        (B, 256, 256, 3) uint8.
    """
    inputs = []
    for sample, following in zip(samples, [*samples[1:], samples[0]], strict=True):
        truth = resize(sample["truth"].numpy(), INPUT_SIZE, INPUT_SIZE)
        rng = np.random.default_rng([int(truth.sum()), int(following["input"].sum())])
        degraded = apply_degradation(truth, DegradationParams(**following["params"]), rng)
        inputs.append(torch.from_numpy(np.array(degraded)))
    return torch.stack(inputs)


def next_inputs(samples: Sequence[dict[str, Any]]) -> Tensor:
    """The neighbouring frame of each input, as if it came from a clip.

    The face, its place, its degradation and its mask stay; the noise is new. For the recipe `film` it is the following
    frame, or the one before if the sample shows the last frame. The noise is seeded by the pictures, so the same
    samples give the same result.

    Returns:
        (B, 256, 256, 3) uint8.
    """
    inputs = []
    for sample in samples:
        truth, params = resize(sample["truth"].numpy(), INPUT_SIZE, INPUT_SIZE), DegradationParams(**sample["params"])
        rng = np.random.default_rng([int(truth.sum()), int(sample["input"].sum())])
        neighbour = replace(params, frame=params.frame + (1 if params.frame + 1 < FILM_FRAMES else -1))
        degraded = fill_smoothly(apply_degradation(truth, neighbour, rng), sample["unknown"].numpy())
        inputs.append(torch.from_numpy(np.array(degraded)))
    return torch.stack(inputs)
