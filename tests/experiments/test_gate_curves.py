"""The gate's curves, on gates whose choices are known and against scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve

from experiments.gate.gate_curves import GateCurvesOptions, choices, lines_of, over, reliability, run, shuffled
from likeness.nets.gate import FEATURES, Gate
from likeness.training.gate_data import GateDataModule
from likeness.training.gate_table import GateTable
from likeness.weights.files import save_weights


def known_table() -> GateTable:
    """400 faces of 40 people; Expert-T costs 0.1 less below a sharpness of 100, leaving alone 0.2 less above 1000."""
    rng = np.random.default_rng(0)
    features = np.stack([rng.uniform(50, 150, 400), 10 ** rng.uniform(0, 4, 400), *rng.random((5, 400))], 1)
    sharpness = features[:, 1]
    expert_t, left = (0.5 + np.where(m, -gain, gain) for m, gain in ((sharpness < 100, 0.1), (sharpness > 1000, 0.2)))
    costs = np.stack([expert_t, np.full(400, 0.5), left], 1)
    return GateTable(features.astype(np.float32), costs, np.repeat(np.arange(40), 10))


class BySharpness(Gate):
    """Chooses by the feature that decides in `known_table`."""

    def probabilities(self, features):  # type: ignore[no-untyped-def, override]
        sharpness = np.asarray(features)[:, FEATURES.index("sharpness")]
        return np.where(np.stack([sharpness < 100, sharpness > 1000], 1), 0.9, 0.1)


def test_costs_of_choices_are_the_known_ones() -> None:
    table = known_table()
    costs = choices(BySharpness(), table)
    share, good = (table.features[:, 1] < 100).mean(), (table.features[:, 1] > 1000).mean()
    means = {name: values.mean() for name, values in costs.items()}
    assert means == pytest.approx(
        {
            "always Expert-T": 0.5 + 0.1 * (1 - 2 * share),
            "always Expert-F": 0.5,
            "always left alone": 0.5 + 0.2 * (1 - 2 * good),
            "gate, never leaving": 0.5 - 0.1 * share,
            "gate": 0.5 - 0.1 * share - 0.2 * good,
            "oracle": 0.5 - 0.1 * share - 0.2 * good,
        }
    )


def test_only_the_deciding_feature_has_importance() -> None:
    rises = shuffled(BySharpness(), known_table(), 0)
    assert rises["sharpness"].low > 0.02
    assert all((i.value, i.low, i.high) == (0, 0, 0) for name, i in rises.items() if name != "sharpness")


def test_reliability_equals_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    sure = rng.random(800)
    better = rng.random(800) < sure**2
    expected_fraction, expected_probability = calibration_curve(better, sure, n_bins=8, strategy="quantile")
    probability, fraction = reliability(sure, better)
    np.testing.assert_allclose(probability, expected_probability, atol=0.01)
    np.testing.assert_allclose(fraction, expected_fraction, atol=0.02)


def test_bins_are_equally_filled() -> None:
    values = np.array([5.0, 1.0, 3.0, 2.0, 4.0, 6.0])
    places, costs = over(values, {"a": 10 * values}, 3)
    assert places.tolist() == [1.5, 3.5, 5.5]
    assert costs["a"].tolist() == [15.0, 35.0, 55.0]


def test_tables_state_regret_and_its_fraction() -> None:
    lines = lines_of(BySharpness(), known_table(), 0)
    gate = next(line for line in lines if line.startswith("| gate |"))
    assert gate.split("|")[3].strip() == "0.0000 [0.0000, 0.0000]"
    better = "F" if (known_table().features[:, 1] < 100).mean() < 0.5 else "T"
    single = next(line for line in lines if line.startswith(f"| always Expert-{better} |"))
    assert single.split("|")[4].strip() == "1.00 [1.00, 1.00]"
    assert sum(line.startswith(f"| {name} |") for line in lines for name in FEATURES) == len(FEATURES)


def test_command_reads_held_out_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GateDataModule, "_cached", lambda self, soft, wide: known_table())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        gate = Gate()
    save_weights(tmp_path / "gate.safetensors", "gate", gate.config.to_dict(), gate.state_dict(), {})
    run(GateCurvesOptions(gate=str(tmp_path / "gate.safetensors"), root="unused", dst=str(tmp_path / "out")))
    text = (tmp_path / "out" / "table.md").read_text()
    assert '"people": 10' in text
    assert '"samples trained on": 1200' in text
    assert (tmp_path / "out" / "curves.png").stat().st_size > 1000
