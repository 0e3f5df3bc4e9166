"""Paired comparisons from stored figures, against differences computed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments.evaluation import compare_methods
from experiments.evaluation.compare_methods import (
    CompareMethodsOptions,
    by_attribute,
    compare,
    main,
    pool,
    read_images,
    run,
)
from likeness.errors import DataError

HEAD = "# commit: none\nimage,group,recipe,method,size,psnr,lpips\n"
FIGURES = {
    # image: group, figures of a and of b; the last has no LPIPS under a
    "1.png": ("real", (20.0, 0.4), (21.0, 0.2)),
    "2.png": ("real", (22.0, 0.2), (21.0, 0.2)),
    "3.png": ("drawn", (30.0, 0.3), (33.0, 0.2)),
    "4.png": ("drawn", (28.0, None), (30.0, 0.3)),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    lines = [
        f"{image},{group},heavy,{method},256,{psnr},{'' if lpips is None else lpips}"
        for image, (group, *both) in FIGURES.items()
        for method, (psnr, lpips) in zip("ab", both, strict=True)
    ]
    path = tmp_path / "images.csv"
    path.write_text(HEAD + "\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("view", "metric", "value", "change", "percent", "n"),
    [
        ("all, 256", "psnr", 26.25, 1.25, 5.0, 4),
        ("real, 256", "psnr", 21.0, 0.0, 0.0, 2),
        ("drawn, 256", "psnr", 31.5, 2.5, 100 * 2.5 / 29, 2),
        ("all, 256", "lpips", 0.225, -0.1, -100 / 3, 3),
    ],
)
def test_means_and_paired_differences_are_as_computed_by_hand(
    file: Path, view: str, metric: str, value: float, change: float, percent: float, n: int
) -> None:
    rows = {(r.view, r.method, r.metric): r for r in compare(read_images(file), "a")}
    row = rows[view, "b", metric]
    assert row.figure.value == pytest.approx(value)
    assert row.difference is not None
    assert row.percent is not None
    assert (row.difference.value, row.percent.value) == (pytest.approx(change), pytest.approx(percent))
    assert row.difference.n == n
    assert row.difference.low <= row.difference.value <= row.difference.high
    assert rows[view, "a", metric].difference is None


def test_order_of_images_changes_nothing(file: Path) -> None:
    lines = read_images(file)
    expected = {r.metric: r for r in compare(lines, "a") if (r.view, r.method) == ("all, 256", "b")}
    shuffled = [lines[i] for i in np.random.default_rng(0).permutation(len(lines))]
    rows = {r.metric: r for r in compare(shuffled, "a") if (r.view, r.method) == ("all, 256", "b")}
    for metric, row in expected.items():
        assert row.difference is not None
        assert rows[metric].difference is not None
        assert rows[metric].difference.value == pytest.approx(row.difference.value)  # type: ignore[union-attr]


def test_table_states_the_hash_of_its_input(file: Path, tmp_path: Path) -> None:
    run(CompareMethodsOptions([str(file)], "a", [], str(tmp_path / "against.md")))
    text = (tmp_path / "against.md").read_text()
    assert "Against `a`, paired:" in text
    assert "| b | +1.25 [" in text
    assert "files sha256" in text


def test_views_of_two_files_are_named_by_file(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.csv"
    other.write_text(file.read_text().replace(",20.0,", ",24.0,"))
    run(CompareMethodsOptions([str(file), str(other)], "a"))
    text = capsys.readouterr().out
    for name, mean in ((file, "25.00"), (other, "26.00")):
        section = text.partition(f"## {name}: all, 256")[2]
        assert section.partition("| a | ")[2].startswith(mean)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["base=a"], "images: got none"),
        (["images=[FILE]", "base=c"], "got c, expected rows of the file: a, b"),
        (["images=[FILE]", "base=a", "methods=[d]"], "got d"),
        (["images=[none.csv]", "base=a"], "cannot read none.csv"),
        (["images=[TEXT]", "base=a"], "has no columns image"),
    ],
    ids=str,
)
def test_wrong_options_end_in_one_line(
    file: Path, tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.csv"
    text.write_text("a,b\n1,2\n")
    assert main([w.replace("FILE", str(file)).replace("TEXT", str(text)) for w in words]) != 0
    assert message in capsys.readouterr().err


def test_binary_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(bytes(range(256)))
    with pytest.raises(DataError, match="cannot read"):
        read_images(tmp_path / "x.csv")


def test_pooled_faces_count_once(tmp_path: Path) -> None:
    lines = [
        "a.png w 60,w 60,heavy,x,256,20.0,.1",
        "a.png w 60,w 60,mild,x,256,24.0,.3",
        "a.png w 80,w 80,heavy,x,256,22.0,.2",
        "b.png w 60,w 60,heavy,x,256,30.0,",
        "b.png w 60,w 60,mild,x,256,40.0,.1",
        "a.png w 60,w 60,heavy,y,256,21.0,.1",
        "a.png w 60,w 60,mild,y,256,25.0,.1",
        "a.png w 80,w 80,heavy,y,256,23.0,.1",
        "b.png w 60,w 60,heavy,y,256,33.0,.1",
        "b.png w 60,w 60,mild,y,256,43.0,.1",
    ]
    file = tmp_path / "images.csv"
    file.write_text(HEAD + "\n".join(lines) + "\n")
    rows = {(r.view, r.recipe, r.method, r.metric): r for r in compare(pool(read_images(file)), "x")}
    assert {(view, recipe) for view, recipe, _, _ in rows} == {("all, 256", "heavy + mild")}
    plain = rows["all, 256", "heavy + mild", "x", "psnr"].figure
    assert (plain.value, plain.n) == (pytest.approx((22 + 35) / 2), 2)
    gain = rows["all, 256", "heavy + mild", "y", "psnr"].difference
    assert gain is not None
    assert (gain.value, gain.low, gain.high) == (pytest.approx(2), pytest.approx(1), pytest.approx(3))
    lpips = rows["all, 256", "heavy + mild", "x", "lpips"].figure
    assert (lpips.value, lpips.n, lpips.missing) == (pytest.approx(0.2), 1, 1)


def test_command_pools(file: Path, tmp_path: Path) -> None:
    main([f"images=[{file}]", "base=a", "pooled=true", f"dst={tmp_path / 'pooled.md'}"])
    text = (tmp_path / "pooled.md").read_text()
    assert "real" not in text.replace("pooled", "")
    assert "| b | +1.25 [" in text


WORN = {"1.png": frozenset({"glasses", "hat"}), "2.png": frozenset({"glasses"}), "3.png": frozenset[str]()}


def test_face_counts_under_each_of_its_attributes(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_methods, "FEWEST", 1)
    rows = {(r.view, r.method, r.metric): r.figure for r in compare(by_attribute(read_images(file), WORN), "a")}
    expected = {"glasses": (21.0, 2), "hat": (20.0, 1), "none": (30.0, 1), "all": (24.0, 3)}  # 4.png has no label
    for view, (psnr, n) in expected.items():
        figure = rows[f"{view}, 256", "a", "psnr"]
        assert (figure.value, figure.n) == (pytest.approx(psnr), n), view
    assert len({view for view, _, _ in rows}) == 4


def test_attributes_of_few_faces_are_left_out(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_methods, "FEWEST", 2)
    assert {line["group"] for line in by_attribute(read_images(file), WORN)} == {"glasses"}
    monkeypatch.setattr(compare_methods, "FEWEST", 9)
    with pytest.raises(DataError, match="no attribute is had by 9 of the faces"):
        by_attribute(read_images(file), WORN)
    with pytest.raises(DataError, match="none of the images is labelled"):
        by_attribute(read_images(file), {"5.png": frozenset({"hat"})})
