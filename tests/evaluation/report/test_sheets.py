"""Which faces are shown, and that the pictures beside each other are what they are said to be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from likeness.evaluation.benchmarks.faces import open_faces
from likeness.evaluation.methods.base import MethodContext
from likeness.evaluation.methods.crops import METHODS
from likeness.evaluation.protocol.faces import degraded_face, evaluate_methods
from likeness.evaluation.protocol.measures import Measures
from likeness.evaluation.report.sheets import select_examples, write_sheets
from likeness.evaluation.scores import Run
from likeness.ops.color import to_integer


def test_examples_are_best_median_and_worst() -> None:
    values = np.array([5.0, 1.0, np.nan, 3.0, 2.0, 4.0, 0.0, 6.0, 7.0, 8.0])
    assert select_examples(values, 2) == [
        ("best", 6), ("best", 1), ("median", 3), ("median", 5), ("worst", 8), ("worst", 9)
    ]  # fmt: skip
    assert select_examples(np.array([2.0, 1.0]), 3) == [("best", 1), ("best", 0)]


def test_sheet_shows_input_restored_and_truth(faces_root: Path, measures: Measures, tmp_path: Path) -> None:
    benchmark = open_faces(faces_root / "faces", limit=2)
    methods = METHODS.make(["input", "unsharp"], MethodContext())
    scores = evaluate_methods(benchmark, methods, ["heavy"], measures, 3)
    (file,) = write_sheets(tmp_path / "sheets", benchmark, methods, scores, ["heavy"], 3)
    sheet = np.asarray(Image.open(file))
    assert sheet.shape == (2 * 272, 768, 3)
    change = [scores.values[Run("heavy", m, 256)]["distance"] for m in ("unsharp", "input")]
    for row, index in enumerate(np.argsort(change[0] - change[1])):
        sample = benchmark.load(int(index))
        crop, _ = degraded_face(sample, "heavy", 3)
        shown = sheet[row * 272 + 16 : row * 272 + 272]
        np.testing.assert_array_equal(shown[:, :256], to_integer(crop))
        np.testing.assert_array_equal(shown[:, 256:512], to_integer(methods[1].run([crop])[0]))
        np.testing.assert_array_equal(shown[:, 512:], sample.truth_256)
