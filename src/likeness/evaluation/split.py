"""Do content and quality tokens carry what their names say? Four measurements, each with its bar.

A view is one degradation of one face. All figures are per face, on the same faces and views for every network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from likeness.errors import InputError
from likeness.evaluation.statistics import Interval, difference, percent
from likeness.metrics.identity import Embed, embedding_distance
from likeness.metrics.images import halve, round8
from likeness.metrics.lpips import Lpips
from likeness.metrics.sharpness import laplacian_variance
from likeness.nets.expert_t import ExpertT, Frozen, Knobs, Reading, Seen

BATCH = 8


@dataclass(frozen=True)
class Views:
    """Faces under degradations, and what Expert-T reads in them.

    Attributes:
        truths: (N, 3, 256, 256) in [0, 1].
        inputs: by recipe, (N, 3, 256, 256).
        readings, seen: by recipe, one batch after another.
    """

    truths: Tensor
    inputs: Mapping[str, Tensor]
    readings: Mapping[str, Sequence[Reading]]
    seen: Mapping[str, Sequence[Seen]]

    def tokens(self, recipe: str, kind: str) -> Tensor:
        """(N, tokens, width) of all faces; `kind` is content, quality or clean."""
        return torch.cat([getattr(r, kind) for r in self.readings[recipe]])


@torch.inference_mode()
def read_views(net: ExpertT, frozen: Frozen, truths: Tensor, inputs: Mapping[str, Tensor]) -> Views:
    """Reads every view once."""
    readings: dict[str, list[Reading]] = {}
    seen: dict[str, list[Seen]] = {}
    for recipe, crops in inputs.items():
        for part in crops.split(BATCH):
            found = net.see(part, frozen)
            seen.setdefault(recipe, []).append(found)
            readings.setdefault(recipe, []).append(net.read(found))
    return Views(truths, inputs, readings, seen)


@torch.inference_mode()
def render(net: ExpertT, frozen: Frozen, views: Views, recipe: str, looks: Tensor) -> Tensor:
    """The faces of a view with the quality tokens given, (N, K, width) or (K, width).

    Returns:
        (N, 3, 256, 256) as 8 bits hold them.
    """
    every = looks.expand(len(views.truths), -1, -1) if looks.ndim == 2 else looks
    images = []
    batches: Iterator[tuple[Reading, Seen, Tensor]] = zip(
        views.readings[recipe], views.seen[recipe], every.split(BATCH), strict=True
    )
    for reading, seen, look in batches:
        out = net.render(reading, look, seen, frozen.prior, Knobs())
        images.append(round8(halve(out.image.clamp(0, 1).contiguous())))
    return torch.cat(images)


@dataclass(frozen=True)
class Probe:
    """How much a linear probe finds.

    Attributes:
        identity: share of faces told apart from all others in a degradation that the probe has not seen.
        degradation: share of views whose recipe is told, on faces that the probe has not seen.
        chance: of both, by guessing.
    """

    identity: float
    degradation: float
    chance: tuple[float, float]


def probe(views: Views, kind: str) -> Probe:
    """Ridge classifiers on the flattened tokens of one kind (scikit-learn; their strength chosen by leaving one out).

    Raises:
        InputError: with fewer than three recipes or four faces: nothing would be left to test on.
    """
    from sklearn.linear_model import RidgeClassifierCV  # here: a development dependency
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    recipes, count = list(views.inputs), len(views.truths)
    if len(recipes) < 3 or count < 4:
        raise InputError(f"probe: got {count} faces under {len(recipes)} recipes, expected at least 4 under 3")
    tokens = {recipe: views.tokens(recipe, kind).flatten(1).cpu().numpy() for recipe in recipes}
    faces = np.arange(count)
    hits = []
    for left_out in recipes:  # each degradation once as the unseen one
        others = [r for r in recipes if r != left_out]
        model = make_pipeline(StandardScaler(), RidgeClassifierCV(np.logspace(-2, 5, 8)))
        model.fit(np.concatenate([tokens[r] for r in others]), np.tile(faces, len(others)))
        hits.append(model.score(tokens[left_out], faces))
    told = []
    labels = np.repeat(np.arange(len(recipes)), count)
    stacked, who = np.concatenate([tokens[r] for r in recipes]), np.tile(faces, len(recipes))
    for half in (0, 1):
        model = make_pipeline(StandardScaler(), RidgeClassifierCV(np.logspace(-2, 5, 8)))
        inside = who % 2 == half
        model.fit(stacked[inside], labels[inside])
        told.append(model.score(stacked[~inside], labels[~inside]))
    return Probe(float(np.mean(hits)), float(np.mean(told)), (1 / count, 1 / len(recipes)))


def exchanged_people(net: ExpertT, frozen: Frozen, views: Views, recipe: str, embed: Embed) -> Interval:
    """How much the distance to the own clean face grows when each face is given the next one's quality tokens."""
    own = views.tokens(recipe, "quality")
    truth = embed(views.truths)
    moved, kept = [
        embedding_distance(embed(render(net, frozen, views, recipe, looks)), truth).cpu().double().numpy()
        for looks in (own.roll(-1, 0), own)
    ]
    return difference(moved, kept)


def exchanged_views(net: ExpertT, frozen: Frozen, views: Views, content: str, donor: str) -> Interval:
    """Sharpness of a face whose quality tokens come from another view, against the donor's own rendering, in percent.

    0 = as sharp as the donor. Sharpness is the standard deviation of the Laplacian.
    """
    looks = views.tokens(donor, "quality")
    got, wanted = (
        laplacian_variance(render(net, frozen, views, recipe, looks)).sqrt().cpu().double().numpy()
        for recipe in (content, donor)
    )
    return percent(got, wanted)


def replaced(net: ExpertT, frozen: Frozen, views: Views, recipe: str, looks: Tensor, lpips: Lpips) -> Interval:
    """What it costs in LPIPS to the input's own picture to render it with other quality tokens than its own."""
    inputs = views.inputs[recipe]

    def cost(tokens: Tensor) -> np.ndarray:
        image = render(net, frozen, views, recipe, tokens)
        with torch.inference_mode():
            parts = [lpips(a, b) for a, b in zip(image.split(BATCH), inputs.split(BATCH), strict=True)]
        return torch.cat(parts).cpu().double().numpy()

    return difference(cost(looks), cost(views.tokens(recipe, "quality")))


def average(views: Views, kind: str = "quality") -> Tensor:
    """The mean tokens over all faces and views, (K, width)."""
    return torch.cat([views.tokens(recipe, kind) for recipe in views.inputs]).mean(0)
