"""Groups: who is in which, who joins, and the gap between them on rows that are known."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from likeness.data.faces import FaceRecord, is_calib
from likeness.errors import DataError
from likeness.evaluation.benchmarks.faces import FEWEST, group_name, open_groups
from likeness.evaluation.report.fairness import Gap, by_group, largest_gap, to_markdown
from likeness.evaluation.report.statistics import Interval
from likeness.evaluation.report.summary import Row

HEADER = "file,set,kind,group,size,native_px,laplacian_256,split,source_md5"


def record(kind: str, group: str) -> FaceRecord:
    return FaceRecord("x.png", "x", kind, group, 512, 512.0, "val")


def test_synonyms_name_one_group() -> None:
    assert group_name(record("real", "male_caucasian")) == "real male_white"
    assert group_name(record("synthetic", "female_hispanic")) == "synthetic female_latino"
    assert group_name(record("real", "female_black")) == "real female_black"
    assert group_name(record("real", "")) == ""


def test_calibration_faces_join_small_groups(faces_root: Path, tmp_path: Path) -> None:
    picture = faces_root / "faces" / "a/real_sharp.png"
    rows, files = [], []

    def add(name: str, kind: str, group: str, split: str) -> None:
        shutil.copy(picture, tmp_path / name)
        files.append(name)
        rows.append(f"{name},s,{kind},{group},512,600,0,{split},x")

    for i in range(FEWEST):
        add(f"white{i}.png", "real", "male_caucasian", "val")
    add("black.png", "real", "male_black", "val")
    add("nobody.png", "real", "", "val")
    calib = [
        n for n in (f"t{i}.png" for i in range(200)) if is_calib(FaceRecord(n, "s", "real", "", 512, 600.0, "train"))
    ]
    for i, name in enumerate(calib[:6]):
        add(name, "real", "male_black" if i % 2 else "male_white", "train")
    add("trained.png", "real", "male_black", "train")
    assert not is_calib(FaceRecord("trained.png", "s", "real", "", 512, 600.0, "train"))
    (tmp_path / "manifest.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    benchmark = open_groups(tmp_path)
    samples = [benchmark.load(i) for i in range(len(benchmark))]
    assert sorted(s.name for s in samples if s.group == "real male_black") == sorted(["black.png", *calib[1:6:2]])
    assert sum(s.group == "real male_white" for s in samples) == FEWEST  # enough of its own
    assert benchmark.facts == {"faces": FEWEST + 4, "of them calibrated on": 3}
    assert [v.group for v in benchmark.views] == ["real male_black", "real male_white"]
    assert len(open_groups(tmp_path, limit=2)) == 4


def test_set_without_groups_is_refused(faces_root: Path) -> None:
    with pytest.raises(DataError, match="has a group; expected sex_ethnicity"):
        open_groups(faces_root / "faces")


def rows() -> list[Row]:
    figures = {"real a": (0.3, 1.0), "real b": (0.5, 2.0), "real c": (0.4, -1.0), "synthetic a": (0.1, 0.5)}
    lines = []
    for group, (distance, gain) in figures.items():
        head = (f"{group}, 256", 256, "heavy")
        lines.append(Row(*head, "input", "distance", Interval(0.6, 0.5, 0.7, 9)))
        lines.append(Row(*head, "mine", "distance", Interval(distance, distance - 0.1, distance + 0.1, 9)))
        lines.append(Row(*head, "mine", "psnr", Interval(30, 29, 31, 9), Interval(gain, gain - 1, gain + 1, 9)))
    return lines


def test_largest_gap_is_stated_with_its_groups() -> None:
    groups = by_group(rows(), "heavy", "mine")
    assert largest_gap(groups, "distance", "real") == Gap("real a", "real b", pytest.approx(0.2))  # less is better
    assert largest_gap(groups, "gain", "real") == Gap("real b", "real c", pytest.approx(3.0))  # more is better
    assert largest_gap(groups, "gain", "synthetic") is None
    text = to_markdown(rows(), {"seed": 0})
    assert "| real a | 9 | 0.300 [0.200, 0.400] | +1.00 [+0.00, +2.00] |" in text.splitlines()
    assert "Largest gap of the real faces in embedder distance: 0.200, real a best and real b worst." in text
    assert "input" not in text.partition("## Provenance")[0]
