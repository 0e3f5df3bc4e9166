"""The protocol: draws that depend on the name alone, and figures that equal the plain metrics."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from likeness.evaluation.benchmarks.base import Benchmark, Sample, View
from likeness.evaluation.benchmarks.faces import open_faces, open_widths
from likeness.evaluation.methods.base import Method, MethodContext
from likeness.evaluation.methods.crops import METHODS
from likeness.evaluation.protocol.faces import Batches, degraded_face, evaluate_methods
from likeness.evaluation.protocol.guard import ACCEPTED
from likeness.evaluation.protocol.measures import Measures
from likeness.evaluation.report.summary import summarise
from likeness.evaluation.scores import TRUTH, Run, Scores
from likeness.metrics.lattice import axis_power
from likeness.metrics.psnr import psnr
from likeness.metrics.sharpness import sharpness_ratio
from likeness.metrics.specks import specks
from likeness.metrics.streaks import streaks
from likeness.ops.color import to_float
from likeness.types import FloatArray, Pixels


@pytest.fixture(scope="module")
def benchmark(faces_root: Path) -> Benchmark:
    return open_faces(faces_root / "faces")


def _tensor(pixels: Pixels | FloatArray) -> torch.Tensor:
    image = pixels if pixels.dtype == np.float32 else to_float(pixels)
    return torch.from_numpy(image).permute(2, 0, 1)[None]


def _pixels(levels: np.ndarray) -> Pixels:
    return np.rint(levels).astype(np.uint8)


def _methods(*names: str) -> list[Method]:
    return METHODS.make(names, MethodContext())


def test_degradation_depends_on_seed_recipe_and_name_alone(benchmark: Benchmark) -> None:
    sample = benchmark.load(0)
    before = sample.truth_256.copy()

    def crop(name: str, recipe: str, seed: int) -> FloatArray:
        return degraded_face(replace(sample, name=name), recipe, seed)[0]

    first = crop("a", "gfpgan", 0)
    crop("b", "gfpgan", 0)
    assert np.array_equal(crop("a", "gfpgan", 0), first)
    for name, recipe, seed in (("b", "gfpgan", 0), ("a", "heavy", 0), ("a", "gfpgan", 1)):
        assert not np.array_equal(crop(name, recipe, seed), first)
    assert np.array_equal(crop("a", "clean", 0), to_float(sample.truth_256))
    assert np.array_equal(sample.truth_256, before)


@pytest.mark.parametrize("width", [60.0, 140.0])
def test_photo_of_a_known_width_is_measured_at_that_width(width: float, faces_root: Path) -> None:
    benchmark = open_widths(faces_root / "faces", [60, 140])
    assert list(benchmark.names) == ["a/real_sharp.png w 60", "a/real_sharp.png w 140"]
    sample = benchmark.load([60, 140].index(int(width)))
    assert (sample.width, sample.group, sample.truth_512) == (width, f"w {width:g}", None)
    crop, profile = degraded_face(sample, "clean", 0)
    assert profile.width == pytest.approx(width, rel=0.01)
    # Two thirds of its size are lost at 60, nothing of a 256 crop at 140.
    error = np.abs(crop - to_float(sample.truth_256)).mean() * 255
    assert (error > 2) == (width < 100)
    assert benchmark.facts["widths"] == [60, 140]


def test_crop_is_measured_at_the_width_of_its_source(benchmark: Benchmark) -> None:
    sample = replace(benchmark.load(0), width=85.0)
    crop, profile = degraded_face(sample, "clean", 0)
    grey = cv2.cvtColor((crop * 255).round().astype(np.uint8), cv2.COLOR_RGB2GRAY).astype(np.float32)
    small = cv2.resize(grey, (128, 128), interpolation=cv2.INTER_AREA)
    assert profile.width == 85
    assert profile.qvol == pytest.approx(cv2.Laplacian(small, cv2.CV_32F)[1:-1, 1:-1].var(), rel=0.05)


def test_values_are_the_metrics_of_the_degraded_picture(benchmark: Benchmark, measures: Measures) -> None:
    scores = evaluate_methods(benchmark, _methods("input"), ["gfpgan"], measures, seed=3)
    for i in range(len(benchmark)):
        sample = benchmark.load(i)
        low, truth = _tensor(degraded_face(sample, "gfpgan", 3)[0]), _tensor(sample.truth_256)
        values = scores.values[Run("gfpgan", "input", 256)]
        assert values["psnr"][i] == pytest.approx(psnr(low, truth).item(), rel=1e-5)
        assert values["sharpness"][i] == pytest.approx(sharpness_ratio(low, truth).item(), rel=1e-4)
        moved = 512 / 256 * abs(low.mean() - truth.mean()) * 2**0.5  # by the detector's rule
        assert values["landmarks"][i] == pytest.approx(moved.item(), abs=0.02)
        np.testing.assert_allclose(scores.vectors["power"][Run("", TRUTH, 256)][i], axis_power(truth)[0], rtol=1e-6)
    at_512 = scores.values[Run("gfpgan", "input", 512)]["psnr"]
    assert np.isfinite(at_512).tolist() == [True, False, True, True, False]
    assert "distance" not in scores.values[Run("gfpgan", "input", 512)]


def test_limit_and_batch_size_change_no_image(benchmark: Benchmark, faces_root: Path, measures: Measures) -> None:
    full = evaluate_methods(benchmark, _methods("lanczos"), ["heavy"], measures, batches=Batches(2))
    part = evaluate_methods(
        open_faces(faces_root / "faces", limit=2), _methods("lanczos"), ["heavy"], measures, batches=Batches(8)
    )
    for run, table in part.values.items():
        for metric, values in table.items():
            rows = [list(full.names).index(n) for n in part.names]
            np.testing.assert_allclose(values, full.values[run][metric][rows], rtol=1e-4, err_msg=metric)


@pytest.fixture(scope="module")
def plain(benchmark: Benchmark, measures: Measures) -> tuple[Scores, list[int]]:
    """Two methods on two recipes, and the steps of its progress."""
    done: list[int] = []
    batches = Batches(4, progress=done.append)
    methods = _methods("input", "lanczos")
    return evaluate_methods(benchmark, methods, ["mild", "clean"], measures, batches=batches), done


def test_progress_and_time_cover_every_face(plain: tuple[Scores, list[int]]) -> None:
    scores, done = plain
    assert sum(done) == 5 * 2 * 2
    assert set(scores.seconds) == {(r, m) for r in ("mild", "clean") for m in ("input", "lanczos")}


def test_perfect_method_has_perfect_figures(benchmark: Benchmark, measures: Measures) -> None:
    truths = iter([to_float(benchmark.load(i).truth_256) for i in range(len(benchmark))])
    # A third of a grey level off: an 8-bit file would not keep that.
    oracle = Method("oracle", lambda crops: [next(truths) + np.float32(0.3 / 255) for _ in crops])
    scores = evaluate_methods(benchmark, [*_methods("input"), oracle], ["gfpgan"], measures)
    rows = {(r.view, r.method, r.metric): r for r in summarise(scores, benchmark.views)}
    expected = {"psnr": np.inf, "ssim": 1, "gmsd": 0, "sharpness": 1, "distance": 0, "retained": 1, "landmarks": 0}
    for metric, value in expected.items():
        assert rows["all, 256", "oracle", metric].figure.value == pytest.approx(value, abs=1e-5), metric
    ssim, gmsd = rows["all, 256", "oracle", "ssim"], rows["all, 256", "oracle", "gmsd"]
    given = rows["all, 256", "input", "ssim"]
    assert given.difference is None
    assert ssim.difference is not None
    assert gmsd.percent is not None
    assert ssim.difference.value == pytest.approx(1 - given.figure.value, abs=1e-5)
    assert ssim.difference.low > 0
    assert gmsd.percent.value == pytest.approx(-100)
    lattice = rows["all, 256", "oracle", "lattice"]
    assert lattice.figure.value == pytest.approx(rows["all, 256", TRUTH, "lattice"].figure.value)


def test_differences_are_against_the_input_at_the_same_size(benchmark: Benchmark, measures: Measures) -> None:
    scores = evaluate_methods(benchmark, _methods("input", "unsharp"), ["gfpgan", "heavy"], measures)
    rows = {(r.view, r.recipe, r.method, r.metric): r for r in summarise(scores, benchmark.views)}
    for (view, recipe, method, metric), row in rows.items():
        if method == "unsharp":
            base = rows[view, recipe, "input", metric].figure.value
            assert row.difference is not None
            assert row.difference.value == pytest.approx(row.figure.value - base, abs=1e-9), (view, recipe, metric)


def test_view_selects_its_images(benchmark: Benchmark, plain: tuple[Scores, list[int]]) -> None:
    scores, _ = plain
    counts = {v.name: int(scores.select(v).sum()) for v in benchmark.views}
    assert counts == {"real, 512": 1, "synthetic, 512": 2, "all, 256": 5}
    assert summarise(scores, [View("nobody", 512, "cats")]) == []


def test_lattice_in_the_output_raises_the_figure(benchmark: Benchmark, measures: Measures) -> None:
    wave = 0.08 * np.cos(2 * np.pi * np.arange(512) / 16, dtype=np.float32)[:, None]
    (lanczos,) = _methods("lanczos")
    halftone = Method("halftone", lambda crops: [c + wave for c in lanczos.run(crops)])
    scores = evaluate_methods(benchmark, [lanczos, halftone], ["mild"], measures)
    rows = {(r.view, r.method): r.figure for r in summarise(scores, benchmark.views) if r.metric == "lattice"}
    for view in ("synthetic, 512", "all, 256"):
        assert rows[view, "halftone"].low > 1.5 * rows[view, "lanczos"].high


def test_specks_and_streaks_are_ratios_to_the_truth_at_512(benchmark: Benchmark, measures: Measures) -> None:
    y, x = np.mgrid[:512, :512]
    hatch = 6 * np.sin(2 * np.pi * (x + y) / 11)[..., None]
    dots = -30 * np.exp(-(((x % 32 - 16) ** 2 + (y % 32 - 16) ** 2)[..., None]) / 4)
    # A truth with few dots, and hatched in a part of one cheek.
    flawed = 140 + dots * (y < 200)[..., None] + hatch * ((x > 340) & (y > 200))[..., None]

    def load(index: int) -> Sample:
        sample = benchmark.load(index)
        return sample if sample.truth_512 is None else replace(sample, truth_512=_pixels(np.tile(flawed, 3)))

    pictures = {"input": flawed, "dotted": 140 + dots, "hatched": 140 + hatch}
    methods = [
        Method(n, lambda crops, p=p: [to_float(_pixels(np.tile(p, 3)))] * len(crops))  # type: ignore[misc]
        for n, p in pictures.items()
    ]
    scores = evaluate_methods(replace(benchmark, load=load), methods, ["clean"], measures)
    rows = {(r.view, r.method, r.metric): r for r in summarise(scores, benchmark.views)}
    assert not any(metric in ("specks", "streaks") for view, _, metric in rows if view == "all, 256")
    truth = _tensor(_pixels(np.tile(flawed, 3)))
    for figure, name in ((specks, "specks"), (streaks, "streaks")):
        for method, picture in pictures.items():
            row = rows["synthetic, 512", method, name]
            expected = float(figure(_tensor(_pixels(np.tile(picture, 3)))) / figure(truth))
            assert row.figure.value == pytest.approx(expected)
            assert (row.difference is None) == (method == "input")
            assert row.difference is None or row.difference.value == pytest.approx(expected - 1)
    assert (
        rows["synthetic, 512", "dotted", "specks"].figure.value
        > 2
        > rows["real, 512", "hatched", "specks"].figure.value
    )
    assert rows["real, 512", "hatched", "streaks"].figure.value > 3


def test_truths_without_specks_have_no_ratio(benchmark: Benchmark, measures: Measures) -> None:
    def load(index: int) -> Sample:
        return replace(benchmark.load(index), truth_512=np.full((512, 512, 3), 140, np.uint8))

    scores = evaluate_methods(replace(benchmark, load=load), _methods("input"), ["heavy"], measures)
    assert not {"specks", "streaks"} & {r.metric for r in summarise(scores, benchmark.views)}


def test_interrupted_run_resumes_at_the_next_batch(benchmark: Benchmark, measures: Measures, tmp_path: Path) -> None:
    (lanczos,) = _methods("lanczos")
    seen: list[int] = []

    def fails_at_the_second(crops: Sequence[FloatArray]) -> Sequence[FloatArray]:
        if seen:
            raise KeyboardInterrupt
        seen.append(len(crops))
        return lanczos.run(crops)

    arguments = (["mild", "heavy"], measures, 0, Batches(2, tmp_path))
    with pytest.raises(KeyboardInterrupt):
        evaluate_methods(benchmark, [Method("lanczos", fails_at_the_second)], *arguments)
    # Broken off within a batch: nothing of it is kept.
    assert not list(tmp_path.iterdir())
    counted: list[int] = []

    def counts(crops: Sequence[FloatArray]) -> Sequence[FloatArray]:
        counted.append(len(crops))
        return lanczos.run(crops)

    whole = evaluate_methods(benchmark, [Method("lanczos", counts)], *arguments)
    assert counted == [2, 2, 2, 2, 1, 1]
    (tmp_path / "2-4.npz").unlink()
    counted.clear()
    done: list[int] = []
    again = evaluate_methods(benchmark, [Method("lanczos", counts)], *arguments[:3], Batches(2, tmp_path, done.append))
    assert counted == [2, 2]
    assert sum(done) == 5 * 2
    for run, table in whole.values.items():
        for metric, values in table.items():
            np.testing.assert_array_equal(again.values[run][metric], values)
    for name, runs in whole.vectors.items():
        for run, rows in runs.items():
            np.testing.assert_array_equal(again.vectors[name][run], rows)
    assert list(again.names) == list(benchmark.names)
    assert again.groups.tolist() == whole.groups.tolist()
    assert {s: m.tolist() for s, m in again.sizes.items()} == {s: m.tolist() for s, m in whole.sizes.items()}


def test_input_hash_does_not_depend_on_batches(benchmark: Benchmark, measures: Measures) -> None:
    digests = [
        hashlib.sha256(degraded_face(benchmark.load(i), "heavy", 4)[0].tobytes()).hexdigest()
        for i in range(len(benchmark))
    ]
    for batch_size in (2, 8):
        scores = evaluate_methods(benchmark, [], ["heavy"], measures, 4, Batches(batch_size))
        assert scores.inputs["heavy"].tolist() == digests
        assert scores.input_hash("heavy") == hashlib.sha256("".join(digests).encode()).hexdigest()
    assert evaluate_methods(benchmark, [], ["heavy"], measures, 5).input_hash("heavy") != scores.input_hash("heavy")


def test_without_a_detector_only_identity_is_measured(
    benchmark: Benchmark, measures: Measures, plain: tuple[Scores, list[int]]
) -> None:
    full, _ = plain
    lean = evaluate_methods(benchmark, _methods("input"), ["mild"], replace(measures, detector=None))
    run = Run("mild", "input", 256)
    assert set(lean.values[run]) == {"distance", "retained"}
    np.testing.assert_array_equal(lean.values[run]["distance"], full.values[run]["distance"])
    ours, truth = (lean.vectors["embedding"][r] for r in (run, Run("", TRUTH, 256)))
    np.testing.assert_allclose(np.linalg.norm(ours - truth, axis=1), lean.values[run]["distance"], rtol=1e-5)


def test_set_distances_need_more_faces_than_dimensions(benchmark: Benchmark, measures: Measures) -> None:
    figures = {}
    for pixels in (1, 4):  # 3 or 48 numbers a face, of five faces
        few = replace(measures, embed=lambda x, n=pixels: F.adaptive_avg_pool2d(x, n).flatten(1))  # type: ignore[misc]
        scores = evaluate_methods(benchmark, _methods("input"), ["heavy"], few)
        rows = {r.metric: r.figure for r in summarise(scores, benchmark.views) if r.view == "all, 256"}
        figures[pixels] = {m: rows[m] for m in ("frechet", "kernel") if m in rows}
    assert figures[4] == {}
    ours, truth = (scores.vectors["embedding"][r] for r in (Run("heavy", "input", 256), Run("", TRUTH, 256)))
    assert ours.shape == truth.shape == (5, 48)
    assert figures[1]["frechet"].value >= 0
    assert figures[1]["frechet"].n == 5
    assert np.isnan(figures[1]["frechet"].low)


def test_guard_runs_on_every_face_of_experts_only(benchmark: Benchmark, measures: Measures) -> None:
    counts: list[int] = []

    def guard(degraded: torch.Tensor, restored: torch.Tensor, profiles: Sequence[object]) -> np.ndarray:
        counts.append(len(profiles))
        return np.array([float(x) for x in (restored - degraded).abs().amax((1, 2, 3)) > 0.01])

    def shifted(name: str, amount: float, expert: bool) -> Method:
        return Method(name, lambda crops: [np.clip(c + np.float32(amount), 0, 1) for c in crops], expert=expert)

    methods = [*_methods("input", "lanczos"), shifted("near", 0.001, True), shifted("far", 0.1, True)]
    scores = evaluate_methods(benchmark, methods, ["mild"], replace(measures, guard=guard), batches=Batches(2))
    assert sum(counts) == 2 * len(benchmark)
    accepted = {run.method: v[ACCEPTED].tolist() for run, v in scores.values.items() if ACCEPTED in v}
    assert accepted == {"near": [0.0] * len(benchmark), "far": [1.0] * len(benchmark)}
