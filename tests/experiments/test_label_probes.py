"""Linear probes on features whose answer is known, and the two steps of their fit."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from experiments.labels.spread_labels import balanced_accuracy, fit, span, standardised, threshold

NAMES = ("embedder", "top", "objects")


def made(count: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Features of which `top` alone tells who has the attribute, one in five."""
    rng = np.random.default_rng(seed)
    has = rng.random(count) < 0.2
    features = {name: rng.normal(size=(count, 6)).astype(np.float32) for name in NAMES}
    features["top"][:, 2] += 4 * has
    return features, has


def test_probe_finds_the_informative_features() -> None:
    features, has = made(400, 0)
    every = np.ones(400, np.bool_)
    probe = fit(standardised(features, every), has, every, [(name,) for name in NAMES], 0)
    assert probe.features == ("top",)
    assert probe.chosen_at > 0.93
    others, held = made(400, 1)
    assert balanced_accuracy(held, probe.scores(standardised(others, every)) > 0) > 0.92


def test_only_drawn_faces_choose_the_border() -> None:
    features, has = made(600, 0)
    drawn = np.arange(600) < 300
    features["top"][~drawn & ~has, 2] += 2.5  # found because they look like it: hard ones
    values = standardised(features, np.ones(600, np.bool_))
    probe = fit(values, has, drawn, [("top",)], 0)
    said = probe.scores(values) > 0
    assert 1 - said[drawn & ~has].mean() == pytest.approx(said[drawn & has].mean(), abs=0.04)


def test_balanced_accuracy_is_scikit_learn_s() -> None:
    rng = np.random.default_rng(0)
    has, said = rng.random(200) < 0.1, rng.random(200) < 0.3
    assert balanced_accuracy(has, said) == pytest.approx(balanced_accuracy_score(has, said))


def test_a_fit_in_the_span_is_the_fit_in_all_dimensions() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(60, 300)).astype(np.float32) / 10
    has = values[:, 0] + values[:, 1] > 0
    coordinates, axes = span(values)
    assert coordinates.shape == (60, 60)
    assert axes.T @ axes == pytest.approx(np.eye(60), abs=1e-4)
    assert coordinates @ axes.T == pytest.approx(values, abs=1e-5)
    model = LogisticRegression(C=3, class_weight="balanced", max_iter=1000, tol=1e-8)
    direct = model.fit(values.astype(np.float64), has).coef_[0]
    assert axes @ model.fit(coordinates, has).coef_[0] == pytest.approx(direct, abs=1e-3)


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_the_border_lies_halfway_however_rare_the_attribute(share: float) -> None:
    rng = np.random.default_rng(0)
    has = rng.random(40_000) < share
    assert threshold(rng.normal(size=40_000) + 3 * has - 7, has) == pytest.approx(-5.5, abs=0.05)


def test_a_probe_no_better_than_chance_still_has_a_border() -> None:
    has = np.arange(100) % 2 == 0
    assert threshold(np.where(has, -1.0, 1.0), has) == 0
