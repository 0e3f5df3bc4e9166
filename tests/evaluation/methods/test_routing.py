"""Choosing between the experts: each face's figures are those of the one it goes to."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from likeness.errors import ConfigError
from likeness.evaluation.methods.routing import (
    COST,
    add_choice,
    add_cost,
    choose_by_cost,
    choose_by_gate,
    choose_by_rule,
)
from likeness.evaluation.protocol.guard import ACCEPTED
from likeness.evaluation.scores import Run, Scores
from likeness.nets.gate import LEAVE_THRESHOLD, THRESHOLD, Gate, gate_features
from likeness.ops.geometry import template
from likeness.stages.route import RouteBounds, RouteConfig
from likeness.training.gate_table import RELATIVE_TIME
from likeness.types import FloatArray, Profile

BOUNDS = RouteBounds(q_low=80, detail_low=5, blockiness_high=3, noise_high=9)


@pytest.fixture
def scores() -> Scores:
    """Five faces: too small, small, middle and blurry, middle and sharp, large and good."""
    table = Scores(list("abcde"), np.full(5, ""), {256: np.ones(5, bool)})
    at = np.arange(5)
    figures = {
        "expert_t": np.array([0.1, 0.2, 0.3, 0.4, 0.5]),
        "expert_f": np.array([0.3, 0.2, 0.1, 0.6, 0.5]),
        "input": np.array([0.9, 0.9, 0.9, 0.9, 0.45]),
    }
    for method, distance in figures.items():
        values = {"distance": distance, "lpips_face": distance / 2, "psnr": 30 + distance}
        table.put(Run("heavy", method, 256), at, values, {"power": distance[:, None, None] * np.ones((5, 2, 3))})
        table.seconds["heavy", method] = {"expert_t": 10.0, "expert_f": 5.0, "input": 0.0}[method]
    widths, sharpness = [40, 70, 120, 120, 200], [0, 500, 20, 200, 500]
    table.profiles["heavy"] = np.array([(w, s, s, 10, 0, 0) for w, s in zip(widths, sharpness, strict=True)], float)
    return table


def test_rule_chooses_as_the_router(scores: Scores) -> None:
    chosen = choose_by_rule(RouteConfig(), BOUNDS)(scores, "heavy")
    assert chosen.tolist() == [0, 0, 0, 1, 1]
    add_choice(scores, "rule", choose_by_rule(RouteConfig(), BOUNDS))
    run = Run("heavy", "rule", 256)
    assert scores.values[run]["distance"].tolist() == [0.1, 0.2, 0.3, 0.6, 0.5]
    assert scores.values[run]["psnr"].tolist() == [30.1, 30.2, 30.3, 30.6, 30.5]
    assert scores.vectors["power"][run][:, 1, 2].tolist() == [0.1, 0.2, 0.3, 0.6, 0.5]
    assert scores.seconds["heavy", "rule"] == pytest.approx((3 * 10 + 2 * 5) / 5)


def test_oracle_has_the_least_cost(scores: Scores) -> None:
    add_cost(scores)
    first, second, left = (scores.values[Run("heavy", m, 256)][COST] for m in ("expert_t", "expert_f", "input"))
    np.testing.assert_allclose(first, 1.5 * np.array([0.1, 0.2, 0.3, 0.4, 0.5]) + 0.02)
    np.testing.assert_allclose(second, 1.5 * np.array([0.3, 0.2, 0.1, 0.6, 0.5]) + 0.02 * RELATIVE_TIME["expert_f"])
    np.testing.assert_allclose(left, 1.5 * np.array([0.9, 0.9, 0.9, 0.9, 0.45]))
    assert choose_by_cost(scores, "heavy").tolist() == [0, 1, 1, 0, 2]
    add_choice(scores, "oracle", choose_by_cost)
    np.testing.assert_array_equal(
        scores.values[Run("heavy", "oracle", 256)][COST], np.minimum(np.minimum(first, second), left)
    )


def test_figure_that_only_experts_have_is_nan_for_faces_left_alone(scores: Scores) -> None:
    for method in ("expert_t", "expert_f"):
        scores.values[Run("heavy", method, 256)][ACCEPTED] = np.zeros(5)
    add_choice(scores, "mine", lambda scores, recipe: np.array([0, 1, 2, 2, 0]))
    np.testing.assert_array_equal(scores.values[Run("heavy", "mine", 256)][ACCEPTED], [0, 0, np.nan, np.nan, 0])
    assert scores.values[Run("heavy", "mine", 256)]["distance"].tolist() == [0.1, 0.2, 0.9, 0.9, 0.5]


def test_choice_without_experts_or_lpips_is_refused(scores: Scores) -> None:
    del scores.values[Run("heavy", "expert_f", 256)]
    with pytest.raises(ConfigError, match="got rule without expert_f"):
        add_choice(scores, "rule", choose_by_rule(RouteConfig(), BOUNDS))
    del scores.values[Run("heavy", "expert_t", 256)]["lpips_face"]
    with pytest.raises(ConfigError, match="needs LPIPS"):
        add_cost(scores)


def expected(gate: Gate, rows: list[FloatArray]) -> list[int]:
    return [2 if leave > LEAVE_THRESHOLD else int(t <= THRESHOLD) for t, leave in gate.probabilities(rows)]


def test_gate_chooses_by_the_features_of_the_pipeline(scores: Scores) -> None:
    torch.manual_seed(0)
    gate = Gate()
    rng = np.random.default_rng(0)
    embeddings, points = rng.normal(size=(5, 128)), rng.normal(size=(5, 5, 2)) + template(512)
    points[2] = np.nan  # no face was found in the poor crop
    at, run = np.arange(5), Run("heavy", "input", 256)
    scores.put(run, at, {}, {"embedding": embeddings, "landmarks": points})
    rows = []
    for i in range(5):
        seen = template(512) if i == 2 else points[i]
        rows.append(gate_features(Profile(*scores.profiles["heavy"][i]), float(np.linalg.norm(embeddings[i])), seen))
    batch = torch.from_numpy(np.stack(rows))
    gate.fit_scale(batch)
    # So that all three occur: Expert-T for every second face, and one face is left alone.
    bounds = torch.tensor([THRESHOLD, LEAVE_THRESHOLD]).logit()
    logits = gate(batch).detach()
    left = logits[:, 1].sort().values[-2:].mean()
    gate.layers[-1].bias.data += bounds - torch.stack((logits[:, 0].median(), left))
    chosen_by_gate = choose_by_gate(gate)(scores, "heavy")
    assert chosen_by_gate.tolist() == expected(gate, rows)
    assert sorted(set(chosen_by_gate.tolist())) == [0, 1, 2]
    del scores.vectors["landmarks"]  # verification looks for none: every head is frontal
    frontal = [
        gate_features(Profile(*profile), float(np.linalg.norm(e)), template(512))
        for profile, e in zip(scores.profiles["heavy"], embeddings, strict=True)
    ]
    assert choose_by_gate(gate)(scores, "heavy").tolist() == expected(gate, frontal)
    del scores.vectors["embedding"]
    with pytest.raises(ConfigError, match="got gate without input"):
        choose_by_gate(gate)(scores, "heavy")
