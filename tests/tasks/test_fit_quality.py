"""The fit of the quality against weights that are known, and the file that it writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from likeness.data.synthetic_faces import draw_face
from likeness.errors import DataError
from likeness.stages.profile import FEATURES, read_quality
from likeness.tasks import fit_quality
from likeness.tasks.fit_quality import FitQualityOptions, Sample, run, simulated


def known(seed: int = 0, count: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, weights with the right signs, and the distances that follow from them."""
    rng = np.random.default_rng(seed)
    features = rng.normal(1, 0.7, (count, len(FEATURES)))
    weights = np.linspace(-0.5, -0.1, len(FEATURES))
    return features, weights, 1 / (1 + np.exp(-(features @ weights - 0.2)))


def test_known_weights_are_found() -> None:
    features, weights, distances = known()
    fit = fit_quality.fit_quality(features, distances, ridge=0)
    assert list(fit.weights) == list(FEATURES)
    np.testing.assert_allclose(list(fit.weights.values()), weights, atol=0.01)
    assert fit.intercept == pytest.approx(-0.2, abs=0.02)


def test_a_weight_of_the_wrong_sign_becomes_nothing() -> None:
    features, weights, _ = known()
    weights[2] = 0.5
    fit = fit_quality.fit_quality(features, 1 / (1 + np.exp(-(features @ weights))))
    assert fit.weights[FEATURES[2]] == 0
    assert fit.weights[FEATURES[0]] < -0.2


def test_too_few_samples_are_refused() -> None:
    features, _, distances = known(count=30)
    with pytest.raises(DataError, match="got 30 samples"):
        fit_quality.fit_quality(features, distances)


def test_a_photo_is_the_same_for_the_same_seed() -> None:
    truth = draw_face(512, 1)
    first, again, other = (simulated(truth, "a.png", "mild", seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape
    assert simulated(truth, "b.png", "mild", 0).shape != first.shape


def test_the_command_writes_what_the_pipeline_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features, _, distances = known(count=100)
    monkeypatch.setattr(fit_quality, "real_faces", lambda *_: [])
    monkeypatch.setattr(fit_quality, "restored_samples", lambda *_: [Sample("a", "mild", np.zeros((5, 2)), 0.1)] * 100)
    monkeypatch.setattr(fit_quality, "profiled", lambda *_: [])
    monkeypatch.setattr(fit_quality, "table", lambda _: (features, distances))
    run(FitQualityOptions(root=str(tmp_path), dst=str(tmp_path / "q.json"), limit=25))
    stored = json.loads((tmp_path / "q.json").read_text())
    assert stored["command"] == "python -m likeness.tasks.fit_quality limit=25 seed=0"
    assert stored["samples"] == 100
    assert read_quality(tmp_path / "q.json") == fit_quality.fit_quality(features, distances)
