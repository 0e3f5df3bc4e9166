"""The `faces` benchmark: who is in it, at which size, and what is said when it is not there."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from likeness.errors import ConfigError, DataError
from likeness.evaluation.benchmarks.base import spread
from likeness.evaluation.benchmarks.faces import open_faces


def test_only_validation_faces_with_their_groups_and_sizes(faces_root: Path) -> None:
    benchmark = open_faces(faces_root / "faces")
    samples = {n: benchmark.load(i) for i, n in enumerate(benchmark.names)}
    assert {n: (s.group, s.truth_512 is not None) for n, s in samples.items()} == {
        "a/real_sharp.png": ("real", True),
        "a/real_small.png": ("other", False),  # enlarged: no truth at 512
        "b/synthetic.png": ("synthetic", True),
        "b/synthetic_two.png": ("synthetic", True),
        "c/low.png": ("other", False),
    }
    assert benchmark.facts == {"faces (real)": 1, "faces (synthetic)": 2, "faces (other)": 2}
    assert {s.truth_256.shape for s in samples.values()} == {(256, 256, 3)}


def test_256_is_the_mean_of_two_by_two(faces_root: Path) -> None:
    sample = open_faces(faces_root / "faces").load(0)
    assert sample.truth_512 is not None
    expected = sample.truth_512.reshape(256, 2, 256, 2, 3).mean((1, 3))
    assert np.abs(sample.truth_256 - expected).max() <= 0.5


def test_limit_spreads_over_the_set_and_keeps_order(faces_root: Path) -> None:
    assert list(open_faces(faces_root / "faces", limit=2).names) == ["a/real_sharp.png", "b/synthetic.png"]
    assert spread(range(10), 5) == [0, 2, 4, 6, 8]
    assert spread(range(3), None) == spread(range(3), 9) == [0, 1, 2]
    with pytest.raises(ConfigError, match="limit: got 0"):
        spread(range(3), 0)


def test_hash_follows_the_content(faces_root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "faces"
    shutil.copytree(faces_root / "faces", copy)
    assert open_faces(copy).data_hash == open_faces(faces_root / "faces").data_hash
    shutil.copy(copy / "a/real_small.png", copy / "a/real_sharp.png")
    assert open_faces(copy).data_hash != open_faces(faces_root / "faces").data_hash


def test_missing_data_is_refused(faces_root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="LIKENESS_DATA"):
        open_faces(None)
    with pytest.raises(DataError, match=r"manifest\.csv"):
        open_faces(tmp_path)
    copy = tmp_path / "faces"
    shutil.copytree(faces_root / "faces", copy)
    (copy / "c/low.png").unlink()
    with pytest.raises(DataError, match=r"low\.png"):
        open_faces(copy)
