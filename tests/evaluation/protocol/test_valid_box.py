"""Mirrored borders (`valid_box`) count in no figure."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from likeness.evaluation.benchmarks.base import Benchmark
from likeness.evaluation.benchmarks.faces import open_faces
from likeness.evaluation.methods.base import Method
from likeness.evaluation.protocol.faces import evaluate_methods
from likeness.evaluation.protocol.measures import Measures
from likeness.evaluation.scores import Run
from likeness.ops.color import to_float
from likeness.types import FloatArray


@pytest.fixture(scope="module")
def benchmark(faces_root: Path) -> Benchmark:
    return open_faces(faces_root / "faces")


def test_mirrored_border_counts_in_no_figure(benchmark: Benchmark, measures: Measures) -> None:
    """A method that spoils the border alone is perfect; one that spoils all is as bad as inside the box."""
    valid = np.zeros((256, 256), np.bool_)
    valid[:, 64:] = True
    load = benchmark.load
    boxed = replace(benchmark, load=lambda i: replace(load(i), valid=valid))

    def spoiled(left: float, right: float) -> Method:
        def run(crops: Sequence[FloatArray]) -> list[FloatArray]:
            amounts = np.where(np.arange(256) < 64, left, right).astype(np.float32)[None, :, None]
            return [np.abs(c - amounts) for c in crops]

        return Method("spoiled", run)

    def figures(b: Benchmark, method: Method) -> dict[str, np.ndarray]:
        scores = evaluate_methods(b, [method], ["clean"], measures)
        return {name: scores.values[Run("clean", "spoiled", 256)][name] for name in ("psnr", "lpips", "distance")
                if name in scores.values[Run("clean", "spoiled", 256)]}  # fmt: skip

    border, nothing = figures(boxed, spoiled(0.2, 0)), figures(boxed, spoiled(0, 0))
    for name, values in nothing.items():
        np.testing.assert_allclose(border[name], values, atol=1e-6, err_msg=name)
    everywhere = figures(boxed, spoiled(0.1, 0.1))["psnr"]
    truths = [to_float(boxed.load(i).truth_256)[:, 64:] for i in range(len(boxed))]
    expected = [-10 * np.log10(np.mean((np.rint(255 * np.abs(t - 0.1)) / 255 - t) ** 2)) for t in truths]
    np.testing.assert_allclose(everywhere, expected, atol=0.02)


def test_valid_box_of_the_manifest_becomes_a_mask(faces_root: Path, tmp_path: Path) -> None:
    shutil.copytree(faces_root / "faces", tmp_path / "faces")
    manifest = tmp_path / "faces/manifest.csv"
    rows = list(csv.DictReader(manifest.open()))
    for row in rows:
        row["valid_box"] = "0 0 512 256" if row["file"].endswith("real_sharp.png") else ""
    with manifest.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    valid_by_name = {
        s.name: s.valid for s in map(open_faces(tmp_path / "faces").load, range(len(open_faces(tmp_path / "faces"))))
    }
    boxed = valid_by_name.pop("a/real_sharp.png")
    assert boxed is not None
    assert boxed[:128].all()
    assert not boxed[128:].any()
    assert all(valid is None for valid in valid_by_name.values())
