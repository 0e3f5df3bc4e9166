"""What the gate learned, read from gates whose choices are known, and against scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve

from likeness.errors import DataError
from likeness.nets.gate import FEATURES, Gate
from likeness.tasks import gate_curves
from likeness.tasks.gate_curves import GateCurvesOptions, choices, lines_of, over, reliability, run, shuffled
from likeness.training.gate_data import GateDataModule
from likeness.training.gate_table import GateTable
from likeness.weights.files import save_weights


def known_table() -> GateTable:
    """400 faces of 40 people; Expert-T costs .1 less below a sharpness of 100, .1 more above."""
    rng = np.random.default_rng(0)
    features = np.stack([rng.uniform(50, 150, 400), 10 ** rng.uniform(0, 4, 400), *rng.random((5, 400))], 1)
    costs = np.stack([0.5 + np.where(features[:, 1] < 100, -0.1, 0.1), np.full(400, 0.5)], 1)
    return GateTable(features.astype(np.float32), costs, np.repeat(np.arange(40), 10))


class BySharpness(Gate):
    """Knows the answer."""

    def probability(self, features):  # type: ignore[no-untyped-def, override]
        return np.where(np.asarray(features)[:, FEATURES.index("sharpness")] < 100, 0.9, 0.1)


def test_who_chooses_what_costs_what_is_known() -> None:
    table = known_table()
    costs = choices(BySharpness(), table)
    share = (table.features[:, 1] < 100).mean()
    means = {name: values.mean() for name, values in costs.items()}
    assert means == pytest.approx(
        {
            "always Expert-T": 0.5 + 0.1 * (1 - 2 * share),
            "always Expert-F": 0.5,
            "gate": 0.5 - 0.1 * share,
            "oracle": 0.5 - 0.1 * share,
        }
    )


def test_only_the_feature_that_decides_is_missed() -> None:
    found = shuffled(BySharpness(), known_table(), 0)
    assert found["sharpness"].low > 0.02
    assert all((i.value, i.low, i.high) == (0, 0, 0) for name, i in found.items() if name != "sharpness")


def test_reliability_is_scikit_learns() -> None:
    rng = np.random.default_rng(1)
    sure = rng.random(800)
    better = rng.random(800) < sure**2
    true, said = calibration_curve(better, sure, n_bins=8, strategy="quantile")
    got_said, got_true = reliability(sure, better)
    np.testing.assert_allclose(got_said, said, atol=0.01)
    np.testing.assert_allclose(got_true, true, atol=0.02)


def test_bins_hold_equally_many() -> None:
    values = np.array([5.0, 1.0, 3.0, 2.0, 4.0, 6.0])
    places, costs = over(values, {"a": 10 * values}, 3)
    assert places.tolist() == [1.5, 3.5, 5.5]
    assert costs["a"].tolist() == [15.0, 35.0, 55.0]


def test_the_tables_name_regret_and_its_share() -> None:
    lines = lines_of(BySharpness(), known_table(), 0)
    gate = next(line for line in lines if line.startswith("| gate |"))
    assert gate.split("|")[3].strip() == "0.0000 [0.0000, 0.0000]"
    better = "F" if (known_table().features[:, 1] < 100).mean() < 0.5 else "T"
    single = next(line for line in lines if line.startswith(f"| always Expert-{better} |"))
    assert single.split("|")[4].strip() == "1.00 [1.00, 1.00]"
    assert sum(line.startswith(f"| {name} |") for line in lines for name in FEATURES) == len(FEATURES)


def test_the_command_reads_the_people_that_were_held_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GateDataModule, "_cached", lambda self, soft, wide: known_table())
    monkeypatch.setattr(gate_curves.provenance, "command", lambda: "python")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        gate = Gate()
    save_weights(tmp_path / "gate.safetensors", "gate", gate.config.to_dict(), gate.state_dict(), {})
    run(GateCurvesOptions(gate=str(tmp_path / "gate.safetensors"), root="unused", dst=str(tmp_path / "out")))
    told = (tmp_path / "out" / "table.md").read_text()
    assert '"people": 10' in told
    assert '"samples trained on": 1200' in told
    assert (tmp_path / "out" / "curves.png").stat().st_size > 1000


def test_without_faces_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIKENESS_DATA", raising=False)
    with pytest.raises(DataError, match="give root=DIR"):
        run(GateCurvesOptions())
