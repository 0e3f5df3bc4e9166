"""Rows that choose between experts and input, face by face: the router's rule, the learned gate, and the oracle.

They restore nothing themselves: each face's figures are those of the expert that it would be sent to, or the input's.
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
from likeness.nets.gate import FEATURES, Gate, gate_features
from likeness.ops.geometry import template
from likeness.stages.identity import read_calibration
from likeness.stages.route import GateBounds, RouteBounds, RouteConfig, route, route_by_gate
from likeness.training.gate_table import RELATIVE_TIME, TIME_WEIGHT
from likeness.types import Decision, GateOutput, Profile
from likeness.weights.manifest import released
from likeness.weights.networks import load_network

COST = "cost"

CANDIDATES = (EXPERT_T, EXPERT_F, INPUT)

Indices = npt.NDArray[np.intp]
Choice = Callable[[Scores, str], Indices]  # of a recipe: (N,), the method of each face as an index of CANDIDATES


def add_cost(scores: Scores) -> None:
    """Adds the cost of a face under each method to choose from, as in `training.gate_table.cost`.

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
    """Adds the row `name`: each face's figures under the method that `choice` gives; nan where it has none.

    Raises:
        ConfigError: if one of the methods was not run.
    """
    sets = [[run._replace(method=m) for m in CANDIDATES] for run in list(scores.values) if run.method == EXPERT_T]
    missing = {run.method for runs in sets for run in runs if run not in scores.values} if sets else {EXPERT_T}
    if missing:
        raise ConfigError(f"methods: got {name} without {', '.join(sorted(missing))}, which it chooses from; add it")
    at = np.arange(len(scores.names))
    for runs in sets:
        recipe, first = runs[0].recipe, runs[0]
        chosen = choice(scores, recipe)
        figures = [scores.values[run] for run in runs]
        values = {
            m: np.stack([f[m] if m in f else np.full(len(at), np.nan) for f in figures])[chosen, at] for m in figures[0]
        }
        vectors = {
            kind: np.stack([table[r] for r in runs])[chosen, at]
            for kind, table in scores.vectors.items()
            if first in table
        }
        scores.put(first._replace(method=name), at, values, vectors)
        times = np.array([scores.seconds[recipe, method] for method in CANDIDATES])
        scores.seconds[recipe, name] = float(times[chosen].mean())


def choose_by_rule(config: RouteConfig, bounds: RouteBounds) -> Choice:
    """The router's rule; a face that it would not restore at all goes to the expert of the nearest band."""

    def choose(scores: Scores, recipe: str) -> Indices:
        decisions = [route(Profile(*row), config, bounds) for row in scores.profiles[recipe].tolist()]
        return np.array([CANDIDATES.index(EXPERT_T if d.route == "skip" else d.expert or EXPERT_F) for d in decisions])

    return choose


def choose_by_gate(gate: Gate) -> Choice:
    """The learned gate's choice for a photo, also of faces that the router would not restore.

    Landmarks are those found in the degraded crop; where there are none, the template's, so the head counts as frontal.

    Raises:
        ConfigError: if the method `input`, whose embeddings and landmarks it reads, was not run.
    """
    replaced = Decision(EXPERT_F, "", EXPERT_F)

    def choose(scores: Scores, recipe: str) -> Indices:
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
            GateOutput(float(p), float(leave), dict(zip(FEATURES, row.tolist(), strict=True)))
            for (p, leave), row in zip(gate.probabilities(rows), rows, strict=True)
        ]
        decisions = [route_by_gate(replaced, output, GateBounds()) for output in outputs]
        return np.array([CANDIDATES.index(d.expert or INPUT) for d in decisions])

    return choose


def choose_by_cost(scores: Scores, recipe: str) -> Indices:
    """The oracle: whichever costs least."""
    costs = np.stack([scores.values[Run(recipe, method, CROP)][COST] for method in CANDIDATES])
    chosen: Indices = costs.argmin(0)
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
