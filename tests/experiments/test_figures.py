"""The validation of specks and streaks: its controls, its rows, and its sets of faces."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from experiments.figures import figures
from experiments.figures.figures import FiguresOptions, controls, figures_of, measure, run, table
from likeness.data.synthetic_faces import draw_face
from likeness.errors import ConfigError, DataError, LikenessError
from likeness.evaluation.methods.base import Method
from likeness.types import Pixels


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rows = ["file,set,kind,group,size,native_px,laplacian_256,split,source_md5"]
    kinds = [("real", "val", 512)] * 4 + [("synthetic", "val", 512), ("real", "train", 512), ("real", "val", 300)]
    for i, (kind, split, native) in enumerate(kinds):
        Image.fromarray(draw_face(512, i)).save(tmp_path / f"{i}.png")
        rows.append(f"{i}.png,s,{kind},,512,{native},0,{split},x")
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def _enlarge(name: str, extra: np.ndarray) -> Method:
    def run(crops: list[np.ndarray]) -> list[np.ndarray]:
        return [cv2.resize(c, (512, 512), interpolation=cv2.INTER_CUBIC) + extra for c in crops]

    return Method(name, run)  # type: ignore[arg-type]


def test_controls_are_as_named(astronaut_face: Pixels) -> None:
    variants = controls(astronaut_face, np.random.default_rng(0))
    original = astronaut_face.astype(float)
    assert len(variants) == 11
    for name, picture in variants.items():
        assert picture.shape == astronaut_face.shape, name
        assert picture.dtype == np.uint8, name
    for sigma in (5, 10):
        noise = variants[f"noise, sigma {sigma}"][original.mean(2) > 60] - original[original.mean(2) > 60]
        assert noise.std() == pytest.approx(sigma, rel=0.15)

    def off(name: str) -> float:
        return float(np.abs(variants[name] - original).mean())

    assert off("blur, sigma 1") < off("blur, sigma 2") < off("blur, sigma 4")
    assert 0 < off("JPEG, quality 90") < off("JPEG, quality 70") < off("JPEG, quality 50")
    assert off("resized to 1/2 and back") < off("resized to 1/4 and back")


def test_rows_are_means_over_degradations_and_photographs_come_first(astronaut_face: Pixels) -> None:
    pixels = [astronaut_face, draw_face(512, 1)]
    y, x = np.mgrid[:512, :512]
    hatch = (0.03 * np.sin(2 * np.pi * (x + y) / 11)).astype(np.float32)[..., None]
    methods = [_enlarge("plain", np.float32(0)), _enlarge("hatched", hatch)]
    rows = measure(pixels, ["a", "b"], methods, FiguresOptions(recipes=["heavy"], seeds=2))
    assert next(iter(rows)) == "photographs"
    assert list(rows)[-2:] == ["`heavy`, plain", "`heavy`, hatched"]
    np.testing.assert_array_equal(rows["photographs"], figures_of([p / np.float32(255) for p in pixels]))
    assert rows["`heavy`, hatched"].shape == (2, 2)
    assert (rows["`heavy`, hatched"][:, 1] > 0.8).all()
    assert (rows["`heavy`, plain"][:, 1] < 0.2).all()


def test_table_states_ratios_of_means() -> None:
    truth, ours = np.array([[0.5, 0.02], [1.5, 0.06]]), np.array([[3.0, 0.2], [5.0, 0.28]])
    lines = table({"photographs": truth, "mine": ours})
    assert lines[2] == "| photographs | 1.00 | 1 | 0.0400 | 1 |"
    assert lines[3].startswith("| mine | 4.00 | 4.00 [")
    assert "| 0.2400 | 6.00 [4.67, 10.00] |" in lines[3]


def test_both_sets_are_held_out_real_sharp_and_disjoint(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    taken: list[list[str]] = []
    original = measure

    def watched(pixels: list[Pixels], names: list[str], *rest: object) -> dict[str, np.ndarray]:
        taken.append(names)
        return original(pixels, names, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(figures, "measure", watched)
    target = tmp_path / "out" / "table.md"
    options = FiguresOptions(str(root), str(target), ["input"], ["heavy"], faces=2, seeds=1)
    run(options)
    assert sorted(name for names in taken for name in names) == ["0.png", "1.png", "2.png", "3.png"]
    text = target.read_text()
    assert "## Held out: 2 photographs" in text
    assert "| `heavy`, input |" in text
    assert "All 4 photographs: specks " in text
    assert '"contrast": 2.0' in text
    assert "## Chosen on" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"faces": 0}, ConfigError, "expected at least 1"),
        ({"methods": ["magic"]}, ConfigError, "expected distinct ones out of input"),
        ({"faces": 3}, DataError, "has 4 sharp real faces in val, expected 6"),
    ],
    ids=["no faces", "unknown method", "too few faces"],
)
def test_wrong_options_are_refused(
    changes: dict[str, object], error: type[LikenessError], message: str, root: Path
) -> None:
    given = {"root": str(root), "faces": 2, "methods": ["input"], **changes}
    with pytest.raises(error, match=message):
        run(FiguresOptions(**given))  # type: ignore[arg-type]
