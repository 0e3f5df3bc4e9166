"""Verification over methods: hand-made vectors with known answers, and what is written of them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from likeness.evaluation.benchmarks.lfw import Pair
from likeness.evaluation.report.verification import CLEAN, plot, to_csv, to_markdown, verification_rows
from likeness.evaluation.scores import TRUTH, Run, Scores

FOLDS, EACH = 2, 10


@pytest.fixture
def pairs() -> list[Pair]:
    return [
        Pair(f"a{fold}{i}", f"{'a' if same else 'z'}{fold}{i}'", same, fold)
        for fold in range(FOLDS)
        for same in (True, False)
        for i in range(EACH)
    ]


def scores(pairs: list[Pair], wrong: dict[str, int]) -> tuple[Scores, Scores]:
    """Vectors on a circle: a clean picture lies at its person's angle, and of every method so many lie at others'."""

    def at(angle: float) -> np.ndarray:
        return np.array([np.cos(angle), np.sin(angle)])

    seconds = [p.second for p in pairs]
    firsts = sorted({p.first for p in pairs})
    own = {p.first: 0.0 for p in pairs} | {p.second: 0.1 if p.same else 2.0 for p in pairs}
    scores_of_seconds = Scores(seconds, np.full(len(seconds), "lfw"), {256: np.ones(len(seconds), bool)})
    place = np.arange(len(seconds))
    runs = {Run("", TRUTH, 256): 0} | {Run("heavy", name, 256): n for name, n in wrong.items()}
    for run, n in runs.items():
        angles = np.array([own[s] for s in seconds])
        same = np.flatnonzero([p.same for p in pairs])
        angles[same[:n]] = 2.5  # farther off than any other person: lost at every threshold
        vectors = np.stack([at(a) for a in angles])
        scores_of_seconds.put(run, place, {}, {"embedding": vectors, "judged": vectors})
    others = Scores(firsts, np.full(len(firsts), "lfw"), {256: np.ones(len(firsts), bool)})
    vectors = np.stack([at(own[f]) for f in firsts])
    others.put(Run("", TRUTH, 256), np.arange(len(firsts)), {}, {"embedding": vectors, "judged": vectors})
    return scores_of_seconds, others


def test_change_and_recovered_fraction_are_the_known_ones(pairs: list[Pair]) -> None:
    rows = verification_rows(pairs, *scores(pairs, {"input": 8, "mine": 2, "worse": 9}))
    assert len(rows) == 2 * 4  # by both recognisers
    by_method = {r.method: r for r in rows if r.recogniser.startswith("judge")}
    accuracy = {name: r.result.accuracy for name, r in by_method.items()}
    assert accuracy == pytest.approx({CLEAN: 1, "input": 0.8, "mine": 0.95, "worse": 0.775})
    assert by_method[CLEAN].change is by_method["input"].change is None
    mine, worse = by_method["mine"].change, by_method["worse"].change
    assert mine is not None
    assert worse is not None
    assert mine.value == pytest.approx(15)
    assert mine.low > 0
    assert worse.value == pytest.approx(-2.5)
    assert by_method["mine"].recovered == pytest.approx(0.75)
    assert by_method["worse"].recovered == pytest.approx(-0.125)


def test_without_loss_nothing_is_recovered(pairs: list[Pair]) -> None:
    rows = verification_rows(pairs, *scores(pairs, {"input": 0, "mine": 0}))
    assert {r.recovered for r in rows} == {None}


def test_without_the_input_there_is_no_change(pairs: list[Pair]) -> None:
    rows = verification_rows(pairs, *scores(pairs, {"mine": 2}))
    assert {r.method: r.change for r in rows} == {CLEAN: None, "mine": None}


def test_markdown_csv_and_plot_state_the_rows(pairs: list[Pair], tmp_path: Path) -> None:
    rows = verification_rows(pairs, *scores(pairs, {"input": 8, "mine": 2}))
    text = to_markdown(rows, {"seed": 0}, "Verification")
    assert "| - | clean pictures | 100.00 ± 0.00 | 1.0000 | 100.00 | - | - |" in text.splitlines()
    assert "| heavy | mine | 95.00 ± 5.00 | 0.9000 | 90.00 | +15.00" in text
    assert "40 pairs in 2 folds" in text
    lines = list(csv.DictReader(line for line in to_csv(rows, {"seed": 0}).splitlines() if line[0] != "#"))
    assert [line["method"] for line in lines] == [CLEAN, "input", "mine"] * 2
    assert float(lines[2]["recovered"]) == 0.75
    assert lines[1]["change_points"] == ""
    for name in ("one", "two"):
        plot(rows, pairs, "heavy", tmp_path / f"{name}.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
