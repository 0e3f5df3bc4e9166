"""What is written: CSV that reads back, Markdown for people, JSON that is valid, bytes that repeat."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

from likeness.evaluation.benchmarks.base import View
from likeness.evaluation.report import tables
from likeness.evaluation.report.figures import plot, plot_fidelity, plot_routes
from likeness.evaluation.report.statistics import Interval
from likeness.evaluation.report.summary import Row, summarise
from likeness.evaluation.scores import Run, Scores
from likeness.stages.route import RouteBounds, RouteConfig, route

FACTS = {"command": "python evaluate.py", "seed": 0, "weights sha256": {"embedder": "ab", "judge": "cd"}, "none": []}
ROWS = [
    Row("LFW, 256", 256, "mild", "truth", "lattice", Interval(0.95, 0.9, 1.0, 9)),
    Row("LFW, 256", 256, "mild", "input", "psnr", Interval(27.123, 26.5, 27.9, 9)),
    Row("LFW, 256", 256, "mild", "input", "gmsd", Interval(0.1321, 0.12, 0.14, 9)),
    Row("LFW, 256", 256, "mild", "input", "landmarks", Interval(2.5, 2.0, 3.0, 7, 2)),
    Row("LFW, 256", 256, "mild", "input", "frechet", Interval(0.25, np.nan, np.nan, 9)),
    Row("LFW, 256", 256, "mild", "mine", "psnr", Interval(np.inf, np.inf, np.inf, 9), Interval(0.5, 0.25, 0.75, 9)),
    Row(
        "LFW, 256", 256, "mild", "mine", "gmsd", Interval(0.1, 0.09, 0.11, 9), Interval(-0.03, -0.04, -0.02, 9),
        Interval(-22.7, -25, -20.04, 9),
    ),
]  # fmt: skip


def test_csv_is_readable_below_its_provenance() -> None:
    text = tables.to_csv(ROWS, FACTS)
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert comments[2] == "# weights sha256: embedder ab; judge cd"
    lines = list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
    assert len(lines) == len(ROWS)
    assert lines[1]["value"] == "27.123"
    assert lines[1]["difference"] == ""
    assert (lines[3]["images"], lines[3]["missing"]) == ("7", "2")
    assert lines[5]["value"] == "inf"
    assert float(lines[6]["percent_high"]) == -20.04


def test_markdown_states_means_and_changes_in_their_units() -> None:
    text = tables.to_markdown(ROWS, FACTS, "lfw", ["Not measured: judge"])
    for line in (
        "# lfw",
        "Not measured: judge",
        "## LFW, 256, recipe `mild`, 9 images",
        "| method | PSNR dB ↑ | GMSD ↓ | landmark distance px at 512 ↓ | lattice ↓ "
        "| Fréchet distance of embeddings ↓ |",
        "| truth | - | - | - | 0.95 [0.90, 1.00] | - |",
        "| input | 27.12 [26.50, 27.90] | 0.1321 [0.1200, 0.1400] | 2.50 [2.00, 3.00] (2 missing) | - | 0.2500 |",
        "| mine | inf | 0.1000 [0.0900, 0.1100] | - | - | - |",
        "| mine | +0.50 [+0.25, +0.75] | -22.7 % [-25.0, -20.0] |",
        "- weights sha256: embedder ab; judge cd",
        "- none: none",
    ):
        assert line in text.splitlines(), line


def test_json_is_valid_with_infinite_and_missing_figures() -> None:
    content = json.loads(tables.to_json(ROWS, FACTS), parse_constant=lambda c: pytest.fail(f"{c} is not JSON"))
    assert content["provenance"]["seed"] == 0
    assert content["rows"][5]["figure"]["value"] == "inf"
    assert content["rows"][1]["figure"] == {"value": 27.123, "low": 26.5, "high": 27.9, "n": 9, "missing": 0}


def _scores() -> Scores:
    rng = np.random.default_rng(0)
    scores = Scores(["a", "b", "c"], np.array(["x", "x", "y"]), {256: np.ones(3, bool), 512: np.array([1, 0, 1], bool)})
    for size in (256, 512):
        at = np.flatnonzero(scores.sizes[size])
        scores.put(Run("", "truth", size), at, {}, {"power": rng.random((len(at), 2, size // 2 + 1))})
        for method in ("input", "mine"):
            values = {"psnr": rng.random(len(at)), "landmarks": np.full(len(at), np.nan)}
            scores.put(Run("mild", method, size), at, values, {"power": rng.random((len(at), 2, size // 2 + 1))})
    scores.seconds["mild", "mine"] = 0.6
    return scores


def test_images_csv_has_a_line_for_every_measured_image() -> None:
    scores = _scores()
    lines = list(csv.DictReader(tables.images_csv(scores, {}).splitlines()))
    assert [(line["image"], line["size"], line["method"]) for line in lines[:4]] == [
        ("a", "256", "input"), ("b", "256", "input"), ("c", "256", "input"), ("a", "256", "mine"),
    ]  # fmt: skip
    assert len(lines) == 2 * 3 + 2 * 2
    assert float(lines[3]["psnr"]) == pytest.approx(scores.values[Run("mild", "mine", 256)]["psnr"][0], rel=1e-5)
    assert lines[3]["landmarks"] == ""
    assert "judge" not in lines[3]  # measured nowhere
    (line,) = csv.DictReader(tables.timing_csv(scores, {}).splitlines())
    assert line == {"recipe": "mild", "method": "mine", "faces": "3", "ms_per_face": "200.00"}


def test_same_figures_give_the_same_bytes(tmp_path: Path) -> None:
    views = [View("all", 256), View("x", 512, "x")]
    one, two = summarise(_scores(), views), summarise(_scores(), views)
    assert tables.to_csv(one, FACTS) == tables.to_csv(two, FACTS)
    assert tables.to_json(one, FACTS) == tables.to_json(two, FACTS)
    for name, rows in (("one", one), ("two", two)):
        plot([r for r in rows if r.view == "all"], "all", tmp_path / f"{name}.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_fidelity_curve_needs_three_points(tmp_path: Path) -> None:
    def rows(*methods: str) -> list[Row]:
        return [
            Row("v", 256, recipe, m, "psnr", Interval(20.0 + i, 19, 21, 9))
            for recipe in ("mild", "heavy")
            for i, m in enumerate(methods)
        ]

    assert not plot_fidelity(rows("expert_t", "expert_t_fidelity_0", "expert_f"), "t", tmp_path / "no.png")
    assert not (tmp_path / "no.png").exists()
    assert plot_fidelity(rows("expert_t", "expert_t_fidelity_0", "expert_t_fidelity_1"), "t", tmp_path / "yes.png")
    assert (tmp_path / "yes.png").stat().st_size > 1000


def test_faces_are_plotted_by_route(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, list[float]] = {}
    original = Axes.scatter

    def scatter(self: Axes, x: list[float], y: list[float], **options: Any) -> Any:
        drawn[options["label"]] = x
        return original(self, x, y, **options)

    monkeypatch.setattr(Axes, "scatter", scatter)
    rows = np.array(
        [(28, 0, 0, 10, 0, 0), (70, 9, 9, 10, 0, 0), (120, 9, 500, 10, 0, 0), (200, 9, 500, 10, 0, 0)], float
    )
    bounds = RouteBounds(q_low=80, detail_low=5, blockiness_high=3, noise_high=9)
    plot_routes({"mild": rows}, lambda p: route(p, RouteConfig(), bounds).route, "t", tmp_path / "routes.png")
    assert drawn == {"skip (1)": [28], "expert_t (1)": [70], "expert_f (1)": [120], "resize (1)": [200]}
