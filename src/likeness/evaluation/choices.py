"""Rows that choose between the experts, face by face: the router's rule, the learned gate, and the oracle.

They restore nothing themselves: each face's figures are those of the expert that it would be sent to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from likeness.errors import ConfigError
from likeness.evaluation.methods import INPUT
from likeness.evaluation.scores import Run, Scores
from likeness.nets.gate import THRESHOLD, Gate, gate_features
from likeness.ops.geometry import template
from likeness.stages.route import RouteBounds, RouteConfig, route
from likeness.training.gate_table import RELATIVE_TIME, TIME_WEIGHT
from likeness.types import Profile

FIRST, SECOND = "expert_t", "expert_f"
COST = "cost"

Flags = npt.NDArray[np.bool_]
Choice = Callable[[Scores, str], Flags]  # of a recipe: (N,), whether each face goes to Expert-T


def add_cost(scores: Scores) -> None:
    """Adds the cost of a face under each expert: embedder distance + LPIPS of the face window + .02 x relative time.

    Raises:
        ConfigError: if LPIPS was not measured.
    """
    for run, table in scores.values.items():
        if run.size == 256 and run.method in RELATIVE_TIME:
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
    pairs = [(run, run._replace(method=SECOND)) for run in list(scores.values) if run.method == FIRST]
    if not pairs or any(second not in scores.values for _, second in pairs):
        raise ConfigError(f"methods: got {name} without {FIRST} and {SECOND}, which it chooses from; add both")
    for run, other in pairs:
        first = choice(scores, run.recipe)
        made, place = run._replace(method=name), np.arange(len(scores.names))
        values = {m: np.where(first, v, scores.values[other][m]) for m, v in scores.values[run].items()}
        vectors = {}
        for kind, runs in scores.vectors.items():
            if run in runs:
                shape = (-1, *[1] * (runs[run].ndim - 1))
                vectors[kind] = np.where(first.reshape(shape), runs[run], runs[other])
        scores.put(made, place, values, vectors)
        times = [scores.seconds[run.recipe, method] for method in (FIRST, SECOND)]
        scores.seconds[run.recipe, name] = float(np.where(first, *times).mean())


def by_rule(config: RouteConfig, bounds: RouteBounds) -> Choice:
    """The router's rule; a face that it would not restore at all goes to the expert of its band's end."""

    def choose(scores: Scores, recipe: str) -> Flags:
        decisions = [route(Profile(*row), config, bounds) for row in scores.profiles[recipe].tolist()]
        return np.array([d.expert == FIRST or d.route == "skip" for d in decisions])

    return choose


def by_gate(gate: Gate) -> Choice:
    """The learned gate's choice; landmarks are those found in the poor crop, the template's where there are none.

    In verification no landmarks are looked for, so there every head counts as frontal.

    Raises:
        ConfigError: if the method `input`, whose embeddings and landmarks it reads, was not run.
    """

    def choose(scores: Scores, recipe: str) -> Flags:
        run = Run(recipe, INPUT, 256)
        embeddings, points = (scores.vectors.get(name, {}).get(run) for name in ("embedding", "landmarks"))
        if embeddings is None:
            raise ConfigError(f"methods: got gate without {INPUT}, whose embeddings and landmarks it reads; add it")
        if points is None:
            points = np.full((len(embeddings), 5, 2), np.nan)
        rows = [
            gate_features(Profile(*profile), float(np.linalg.norm(e)), template(512) if np.isnan(p).any() else p)
            for profile, e, p in zip(scores.profiles[recipe].tolist(), embeddings, points, strict=True)
        ]
        chosen: Flags = gate.probability(rows) > THRESHOLD
        return chosen

    return choose


def by_cost(scores: Scores, recipe: str) -> Flags:
    """The oracle: whichever costs less; of equals, the cheaper Expert-F."""
    costs: Mapping[str, npt.NDArray[np.float64]] = {
        method: scores.values[Run(recipe, method, 256)][COST] for method in (FIRST, SECOND)
    }
    chosen: Flags = costs[FIRST] < costs[SECOND]
    return chosen
