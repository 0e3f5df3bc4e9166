"""Whole pictures: seeded degradations, regions, figures of known pictures, and the tables."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from likeness.errors import ConfigError
from likeness.evaluation import run_pictures
from likeness.evaluation.benchmarks.pictures import Picture, astronaut_picture
from likeness.evaluation.config import BenchmarkConfig, EvaluateConfig
from likeness.evaluation.run_pictures import evaluate_pictures
from likeness.metrics.lpips import Lpips
from likeness.ops.geometry import similarity
from likeness.stages.detect.mtcnn import MtcnnDetector

POINTS = np.array([(204.7, 100.5), (248.0, 104.0), (224.9, 129.4), (201.7, 138.8), (245.5, 142.6)])


@pytest.fixture
def picture(photo: np.ndarray) -> Picture:
    part = np.ascontiguousarray(photo[:240, 120:340])
    return Picture("a", "skimage", part, similarity(POINTS - (120, 0), 256), 2)


def test_degradation_depends_on_seed_recipe_and_name_alone(picture: Picture) -> None:
    before = picture.truth.copy()
    poor = picture.degraded("heavy", 1)
    assert poor.shape == (120, 110, 3)
    np.testing.assert_array_equal(poor, picture.degraded("heavy", 1))
    assert (poor != picture.degraded("heavy", 2)).any()
    assert (poor != picture.degraded("gfpgan", 1)).any()
    np.testing.assert_array_equal(picture.truth, before)


def test_clean_picture_is_only_shrunk(picture: Picture) -> None:
    mean = picture.truth.reshape(120, 2, 110, 2, 3).mean((1, 3))
    assert np.abs(picture.degraded("clean", 0) - mean).max() <= 0.5


def test_astronaut_is_aligned_by_its_landmarks() -> None:
    (picture,) = astronaut_picture(MtcnnDetector())
    np.testing.assert_allclose(picture.matrix, similarity(POINTS, 256), atol=0.5)


def test_tables_hold_the_figures_of_each_region(
    picture: Picture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    backbone = tmp_path / "squeeze.pth"
    backbone.write_bytes(b"any")
    monkeypatch.setattr(run_pictures, "load_lpips", lambda file: Lpips())
    monkeypatch.setattr(run_pictures, "_pictures", lambda options: iter([picture]))
    variants = {"lanczos": ["faces.max=1", "background.name=lanczos"]}
    options = EvaluateConfig(
        BenchmarkConfig("pictures", variants=variants), recipe="mild", methods=["bicubic", "lanczos"],
        output=str(tmp_path / "out"),
    )  # fmt: skip
    options.weights.lpips = str(backbone)
    evaluate_pictures(options)
    text = (tmp_path / "out" / "table.csv").read_text()
    rows = list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
    figures = {(r["region"], r["method"], r["figure"]): float(r["value"]) for r in rows}
    assert {k[0] for k in figures} == {"picture", "head", "face"}
    import cv2

    poor = picture.degraded("mild", 0)
    for method, how in (("bicubic", cv2.INTER_CUBIC), ("lanczos", cv2.INTER_LANCZOS4)):
        large = cv2.resize(poor, (220, 240), interpolation=how).astype(float)
        expected = 10 * np.log10(255**2 / np.square(large - picture.truth).mean())
        assert figures["picture", method, "psnr"] == pytest.approx(expected, abs=0.01)
    timings = (tmp_path / "out" / "timing.csv").read_text()
    assert [line.split(",")[:2] for line in timings.splitlines()[-2:]] == [["bicubic", "1"], ["lanczos", "1"]]
    assert "## skimage, mild, head" in (tmp_path / "out" / "table.md").read_text()


def test_unknown_row_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"benchmark\.variants"):
        evaluate_pictures(EvaluateConfig(BenchmarkConfig("pictures"), methods=["lanczos", "magic"]))
