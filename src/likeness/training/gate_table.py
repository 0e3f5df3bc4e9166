"""The gate's training data: held-out faces, left alone and restored by both experts, and what each choice costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import track
from torch import Tensor

from likeness.data.augment import soften
from likeness.data.faces import FaceRecord, read_face
from likeness.data.photos import simulate_photo
from likeness.metrics.identity import embedding_distance
from likeness.metrics.images import halve, round8
from likeness.metrics.landmarks import Detector, find_landmarks
from likeness.metrics.lpips import FACE, Lpips
from likeness.nets.face_embedder import FaceEmbedder
from likeness.nets.gate import gate_features
from likeness.ops.color import to_float
from likeness.ops.geometry import template
from likeness.ops.tensors import to_tensor
from likeness.stages.align import align
from likeness.stages.measure import measure
from likeness.stages.restore.base import Expert
from likeness.types import FloatArray, Pixels

RECIPES = ("clean", "mild", "gfpgan", "heavy", "film")
WIDTHS = (50.0, 150.0)  # of faces that are always restored, in pixels
LARGEST_WIDTH = 250.0  # of faces that are restored only if they are poor
SOFTENING = (1.1, 4.5)  # range of factors for `soften`, as in the experts' training
# Run time of a choice over Expert-T's; fixed, so that the same command gives the same results. From two runs of the
# bench on two cores: 42.5 of 153.3 ms (fp32, Xeon) and 19.3 of 75.0 ms (bf16, EPYC).
RELATIVE_TIME = {"expert_t": 1.0, "expert_f": 0.27, "input": 0.0}
TIME_WEIGHT = 0.02


@dataclass(frozen=True)
class GateTable:
    """Photos of faces and what each choice costs.

    Attributes:
        features: (N, 7), see `nets.gate.FEATURES`.
        costs: (N, 3), of Expert-T, of Expert-F and of the input.
        people: (N,) index of the face in each photo. The photos of one face all belong to training or all to
            validation.
    """

    features: npt.NDArray[np.float32]
    costs: npt.NDArray[np.float64]
    people: npt.NDArray[np.int64]


@dataclass(frozen=True)
class PhotoPlan:
    """Which photos of a face are simulated.

    Attributes:
        count: photos of each face and recipe.
        seed: of widths and degradations.
        soft_truth: fraction of the truths that are softened first, 0..1.
        wide: if true, only undegraded photos wider than 150 px. The router hands smooth ones to the gate, since it
            mistakes them for poor ones.
    """

    count: int
    seed: int
    soft_truth: float = 0.0
    wide: bool = False


class Measures(NamedTuple):
    """The networks that measure photos and restorations."""

    embedder: FaceEmbedder
    lpips: Lpips
    detector: Detector


def cost(output: Tensor, truth: Tensor, measures: Measures, choice: str) -> npt.NDArray[np.float64]:
    """Cost of each face: embedder distance + LPIPS of the face window + 0.02 x relative time.

    Args:
        output, truth: (B, 3, 256, 256) in [0, 1].
        measures: the networks.
        choice: name of the expert that restored it, or "input".

    Returns:
        (B,), lower is better.
    """
    embed, lpips = measures.embedder.embed_aligned, measures.lpips
    quality = embedding_distance(embed(output), embed(truth)) + lpips(
        output[FACE].contiguous(), truth[FACE].contiguous()
    )
    return (quality + TIME_WEIGHT * RELATIVE_TIME[choice]).double().numpy()


@torch.inference_mode()
def build_table(
    root: Path, records: Sequence[FaceRecord], experts: Sequence[Expert], measures: Measures, plan: PhotoPlan
) -> GateTable:
    """Simulates photos of every face, restores them by both experts and computes the costs.

    Args:
        root: folder of the aligned faces.
        records: the faces.
        experts: Expert-T and Expert-F, in this order.
        measures: the networks that measure photos and restorations.
        plan: which photos are simulated.
    """
    features, costs, people = [], [], []
    for person, record in enumerate(track(records, "restoring by both experts", transient=True)):
        crops, profiles, truths = [], [], []
        for truth, photo, landmarks in _simulate(read_face(root, record), person, plan):
            crop = align(photo, landmarks, 256)
            crops.append(crop.image)
            profiles.append(measure(photo, crop))
            truths.append(halve(to_tensor(to_float(truth))))
        inputs = torch.cat([to_tensor(c) for c in crops])
        norms = measures.embedder.embed_aligned(inputs).norm(dim=1).tolist()
        points = find_landmarks(measures.detector, inputs).numpy()
        for profile, norm, detected in zip(profiles, norms, points, strict=True):
            features.append(gate_features(profile, norm, template(512) if np.isnan(detected).any() else detected))
        choices = {e.name: torch.cat([to_tensor(r.image) for r in e.restore(crops)]) for e in experts}
        outputs = {name: halve(images.clamp(0, 1)) for name, images in choices.items()} | {"input": inputs}
        costs.append(np.stack([cost(round8(o), torch.cat(truths), measures, n) for n, o in outputs.items()], 1))
        people += [person] * len(crops)
    return GateTable(np.stack(features), np.concatenate(costs), np.array(people))


def _simulate(face: Pixels, person: int, plan: PhotoPlan) -> Iterator[tuple[Pixels, Pixels, FloatArray]]:
    """Truth, photo and landmarks, with widths spread evenly over `WIDTHS`; one in six degraded photos is wider."""
    for number, recipe in enumerate(RECIPES[:1] if plan.wide else RECIPES):
        rng = np.random.default_rng([plan.seed, person, number])
        for i in range(plan.count):
            position = (i + rng.random()) / plan.count
            width = WIDTHS[0] + position * (WIDTHS[1] - WIDTHS[0])
            if plan.wide or (recipe != "clean" and rng.random() < 1 / 6):
                width = WIDTHS[1] + position * (LARGEST_WIDTH - WIDTHS[1])
            softened = plan.soft_truth and rng.random() < plan.soft_truth
            truth = soften(face, rng.uniform(*SOFTENING), rng) if softened else face
            photo, landmarks = simulate_photo(truth, width, recipe, rng)
            yield truth, photo, landmarks
