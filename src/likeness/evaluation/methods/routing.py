"""Rows that choose between the experts, face by face: the router's rule, the learned gate, and the oracle.

They restore nothing themselves: each face's figures are those of the expert that it would be sent to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from likeness.errors import ConfigError
from likeness.evaluation.benchmarks.base import CROP
from likeness.evaluation.methods.base import EXPERT_F, EXPERT_T, INPUT
from likeness.evaluation.scores import Run, Scores
from likeness.nets.gate import FEATURES, THRESHOLD, Gate, gate_features
from likeness.ops.geometry import template
from likeness.stages.identity import read_calibration
from likeness.stages.route import RouteBounds, RouteConfig, route, route_by_gate
from likeness.training.gate_table import RELATIVE_TIME, TIME_WEIGHT
from likeness.types import Decision, GateOutput, Profile
from likeness.weights.manifest import released
from likeness.weights.networks import load_network

COST = "cost"

Flags = npt.NDArray[np.bool_]
Choice = Callable[[Scores, str], Flags]  # of a recipe: (N,), whether each face goes to Expert-T


def add_cost(scores: Scores) -> None:
    """Adds the cost of a face under each expert: embedder distance + LPIPS of the face window + 0.02 x relative time.

    Raises:
        ConfigError: if LPIPS was not measured.
    """
    for run, table in scores.values.items():
        if run.size == CROP and run.method in RELATIVE_TIME:
            if "lpips_face" not in table:
                raise ConfigError(
                    "methods: a choice between experts needs LPIPS, which was not measured; give its file"
                )
            table[COST] = table["distance"] + table["lpips_face"] + TIME_WEIGHT * RELATIVE_TIME[run.method]


def add_choice(scores: Scores, name: str, choice: Choice) -> None:
    """Adds the row `name`: the figures of Expert-T where `choice` is true, of Expert-F elsewhere.

    Raises:
        ConfigError: if one of the experts was not run.
    """
    pairs = [(run, run._replace(method=EXPERT_F)) for run in list(scores.values) if run.method == EXPERT_T]
    if not pairs or any(other not in scores.values for _, other in pairs):
        raise ConfigError(f"methods: got {name} without {EXPERT_T} and {EXPERT_F}, which it chooses from; add both")
    for run, other in pairs:
        chosen = choice(scores, run.recipe)
        values = {m: np.where(chosen, v, scores.values[other][m]) for m, v in scores.values[run].items()}
        vectors = {}
        for kind, runs in scores.vectors.items():
            if run in runs:
                shape = (-1, *[1] * (runs[run].ndim - 1))
                vectors[kind] = np.where(chosen.reshape(shape), runs[run], runs[other])
        scores.put(run._replace(method=name), np.arange(len(scores.names)), values, vectors)
        times = [scores.seconds[run.recipe, method] for method in (EXPERT_T, EXPERT_F)]
        scores.seconds[run.recipe, name] = float(np.where(chosen, *times).mean())


def choose_by_rule(config: RouteConfig, bounds: RouteBounds) -> Choice:
    """The router's rule; a face that it would not restore at all goes to the expert of the nearest band."""

    def choose(scores: Scores, recipe: str) -> Flags:
        decisions = [route(Profile(*row), config, bounds) for row in scores.profiles[recipe].tolist()]
        return np.array([d.expert == EXPERT_T or d.route == "skip" for d in decisions])

    return choose


def choose_by_gate(gate: Gate) -> Choice:
    """The learned gate's choice for a photo, also of faces that the router would not restore.

    Landmarks are those found in the degraded crop; where there are none, the template's, so the head counts as frontal.

    Raises:
        ConfigError: if the method `input`, whose embeddings and landmarks it reads, was not run.
    """
    replaced = Decision(EXPERT_F, "", EXPERT_F)

    def choose(scores: Scores, recipe: str) -> Flags:
        run = Run(recipe, INPUT, CROP)
        embeddings, points = (scores.vectors.get(name, {}).get(run) for name in ("embedding", "landmarks"))
        if embeddings is None:
            raise ConfigError(f"methods: got gate without {INPUT}, whose embeddings and landmarks it reads; add it")
        if points is None:
            points = np.full((len(embeddings), 5, 2), np.nan)
        rows = [
            gate_features(Profile(*profile), float(np.linalg.norm(e)), template(512) if np.isnan(p).any() else p)
            for profile, e, p in zip(scores.profiles[recipe].tolist(), embeddings, points, strict=True)
        ]
        outputs = [
            GateOutput(float(p), dict(zip(FEATURES, row.tolist(), strict=True)))
            for p, row in zip(gate.probability(rows), rows, strict=True)
        ]
        return np.array([route_by_gate(replaced, output, THRESHOLD).expert == EXPERT_T for output in outputs])

    return choose


def choose_by_cost(scores: Scores, recipe: str) -> Flags:
    """The oracle: whichever costs less; at equal cost the cheaper Expert-F."""
    costs: Mapping[str, npt.NDArray[np.float64]] = {
        method: scores.values[Run(recipe, method, CROP)][COST] for method in (EXPERT_T, EXPERT_F)
    }
    chosen: Flags = costs[EXPERT_T] < costs[EXPERT_F]
    return chosen


def released_bounds() -> RouteBounds:
    """The router's bounds out of the released calibration."""
    fitted = read_calibration(released("calibration"))["route"]
    return RouteBounds(*(fitted[name] for name in ("q_low", "detail_low", "blockiness_high", "noise_high")))


# Name of the row to what makes its choice of the gate's weight file.
CHOICES: Mapping[str, Callable[[Path | None], Choice]] = {
    "rule": lambda _: choose_by_rule(RouteConfig(), released_bounds()),
    "gate": lambda file: choose_by_gate(cast(Gate, load_network("gate", file)[0].eval())),
    "oracle": lambda _: choose_by_cost,
}
