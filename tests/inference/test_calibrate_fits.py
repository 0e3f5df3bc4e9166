"""Fits of the calibration against samples with a known answer, and simulated photos against their width."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from likeness.data.photos import simulate_photo
from likeness.data.synthetic_faces import draw_face
from likeness.errors import DataError
from likeness.stages.align import align
from likeness.stages.identity import GuardBounds, read_calibration
from likeness.stages.measure import measure
from likeness.stages.route import RouteBounds, faults
from likeness.tasks.calibrate import Sample, fit_guard, fit_large, fit_q_low, main
from likeness.types import Profile
from likeness.weights.manifest import released

PROFILE = Profile(width=120.0, qvol=0.0, sharpness=100.0, detail=10.0, blockiness=0.1, noise=1.0)


def sample(person: int, recipe: str, degraded: np.ndarray | None = None, **figures: float) -> Sample:
    clean = np.zeros(128, np.float32)
    clean[person % 128] = 1
    return Sample(person, recipe, replace(PROFILE, **figures), clean if degraded is None else degraded, clean)


def test_q_low_is_where_both_errors_are_equal():
    good = [sample(i, "clean", sharpness=s) for i, s in enumerate(np.linspace(100, 300, 41))]
    poor = [sample(i, "heavy", sharpness=s) for i, s in enumerate(np.linspace(0, 150, 41))]
    outside = [sample(9, "heavy", sharpness=900.0, width=160.0), sample(9, "clean", sharpness=0.0, width=99.0)]
    fitted = fit_q_low([*good, *poor, *outside])
    # 200 q-units against 150: the errors (q - 100) / 200 and (150 - q) / 150 meet at 128.6.
    assert fitted["q_low"] == pytest.approx(128.6, abs=5)
    assert fitted["good_below"] == pytest.approx(fitted["heavy_above"], abs=0.05)


def test_too_few_faces_are_an_error():
    with pytest.raises(DataError, match="more faces"):
        fit_q_low([sample(0, "clean"), sample(1, "heavy")])
    with pytest.raises(DataError, match="more faces"):
        fit_large([sample(0, "clean", width=200.0)])


def test_at_most_five_percent_of_undegraded_large_faces_exceed_the_bounds():
    rng = np.random.default_rng(0)
    draws = zip(rng.normal(10, 2, 400), abs(rng.normal(0, 0.2, 400)), abs(rng.normal(1, 0.5, 400)), strict=True)
    clean = [sample(i, "clean", width=200.0, detail=d, blockiness=b, noise=n) for i, (d, b, n) in enumerate(draws)]
    heavy = [sample(i, "heavy", width=200.0, detail=2.0) for i in range(60)]
    narrow = [sample(i, "clean", width=100.0, detail=0.0) for i in range(200)]
    fitted = fit_large([*clean, *heavy, *narrow])
    bounds = RouteBounds(0.0, fitted["detail_low"], fitted["blockiness_high"], fitted["noise_high"])
    fraction = np.mean([bool(faults(s.profile, bounds)) for s in clean])
    assert fraction == pytest.approx(fitted["undegraded_exceed"], abs=1e-9)
    assert 0.03 < fraction <= 0.05
    assert all(faults(s.profile, bounds) for s in heavy)
    assert fitted["heavy_exceed"] == 1


def test_the_guards_percentiles_are_fitted_by_sharpness():
    """Degraded faces are 0.5 from their clean originals, good ones 0.1, and different people sqrt(2)."""
    samples = []
    for person in range(40):
        for sharpness, away in ((10.0 + person / 100, 0.5), (500.0 + person, 0.1)):
            clean = sample(person, "x").clean
            moved = clean.copy()
            moved[(person + 64) % 128] += away
            samples.append(sample(person, "x", moved, sharpness=sharpness))
    fitted = fit_guard(samples, bins=2)
    np.testing.assert_allclose(fitted["sharpness"], [10.195, 519.5], atol=0.1)
    np.testing.assert_allclose(fitted["same95"], [0.5, 0.1], atol=1e-4)
    np.testing.assert_allclose(fitted["other05"], np.sqrt([2.25, 2.01]), atol=1e-3)
    assert fitted["counts"] == [40, 40]
    bounds = GuardBounds(tuple(fitted["sharpness"]), tuple(fitted["same95"]), tuple(fitted["other05"]))
    assert bounds.at(9999) == pytest.approx(0.1, abs=1e-4)


def test_equal_knots_are_joined():
    samples = [sample(i, "x", sharpness=0.0 if i < 30 else 100.0 + i) for i in range(40)]
    fitted = fit_guard(samples, bins=10)
    assert fitted["sharpness"] == sorted(set(fitted["sharpness"]))


@pytest.mark.parametrize("recipe", ["clean", "mild", "heavy"])
@pytest.mark.parametrize("width", [60.0, 130.0, 230.0])
def test_simulated_photos_have_their_width(recipe, width):
    photo, landmarks = simulate_photo(draw_face(512, 1), width, recipe, np.random.default_rng(0))
    profile = measure(photo, align(photo, landmarks, 256))
    assert profile.width == pytest.approx(width, rel=0.01)
    again, _ = simulate_photo(draw_face(512, 1), width, recipe, np.random.default_rng(0))
    np.testing.assert_array_equal(photo, again)


def test_missing_data_is_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.delenv("LIKENESS_DATA", raising=False)
    assert main([]) == DataError.exit_code
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "root=" in line
    assert "LIKENESS_DATA" in line
    assert main([f"root={tmp_path}"]) == DataError.exit_code
    assert main(["limitt=3"]) == 4


def test_the_released_calibration_meets_its_bounds():
    fitted = read_calibration(released("calibration"))
    guard, route = fitted["guard"], fitted["route"]
    bounds = GuardBounds(tuple(guard["sharpness"]), tuple(guard["same95"]), tuple(guard["other05"]))
    assert route["undegraded_exceed"] <= 0.05
    assert route["heavy_exceed"] >= 0.9
    assert 0.2 < bounds.at(guard["sharpness"][-1]) < 0.6
    assert json.loads(released("calibration").read_text())["faces"] > 100
