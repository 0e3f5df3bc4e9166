"""Outlines of real obstructions, on drawn faces whose overlaps are known."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from experiments.obstructions import polygons
from experiments.obstructions.polygons import (
    CROP,
    IGNORED,
    Outline,
    Outlined,
    by_thresholds,
    count,
    overlap,
    read_crop,
    read_outlines,
    row,
)
from likeness.data.faces import FaceRecord
from likeness.errors import DataError
from likeness.nets.obstructions import CLASSES, INPUT_SIZE
from likeness.ops.geometry import template
from likeness.types import Pixels

MASK, GLASSES = CLASSES.index("mask"), CLASSES.index("glasses")


def box(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float)


def bare() -> Pixels:
    """(256, 256, 3): skin everywhere, two dark eyes."""
    picture = np.full((CROP, CROP, 3), (215, 170, 145), np.uint8)
    for x, y in template(CROP)[:2]:
        cv2.circle(picture, (round(x), round(y)), 4, (60, 40, 30), -1)
    return picture


def test_an_outline_becomes_labels_and_what_comes_later_lies_above() -> None:
    face = Outlined("a", (Outline("mask", box(0, 0, 255, 511)), Outline("glasses", box(0, 0, 127, 127))))
    labels = face.labels()
    assert labels.shape == (INPUT_SIZE, INPUT_SIZE)
    assert (labels[:31, :31] == GLASSES).all()
    assert (labels[40:, :63] == MASK).all()
    assert not labels[:, 66:].any()


def test_lines_have_their_width_and_none_cuts_a_hole() -> None:
    line = np.array([[0, 256], [511, 256]], float)
    crack = Outlined("a", (Outline("damage", line, 12),)).labels() == CLASSES.index("damage")
    assert 2 <= crack[:, 64].sum() <= 4
    cut = (Outline("mask", box(0, 0, 511, 511)), Outline("none", box(128, 128, 383, 383)), Outline("ignore", line, 16))
    labels = Outlined("a", cut).labels()
    assert labels[40, 64] == 0
    assert labels[10, 64] == MASK
    assert labels[64, 64] == IGNORED


def test_overlap_of_two_squares_is_known() -> None:
    true = Outlined("a", (Outline("mask", box(0, 0, 255, 255)),)).labels()
    found = Outlined("a", (Outline("mask", box(128, 0, 383, 255)),)).labels()
    every = np.ones(true.shape, bool)
    counts = count(found, true, every)
    assert overlap(counts[None, MASK]).value == pytest.approx(1 / 3, abs=0.03)
    assert counts[MASK].tolist() == counts[-1].tolist()  # of the protected ones there are masks alone
    half = every.copy()
    half[:, :32] = False  # where only the truth lies
    assert overlap(count(found, true, half)[None, MASK]).value == pytest.approx(1 / 2, abs=0.03)
    assert not count(true, true, every)[GLASSES].any()


def test_a_row_holds_pooled_and_mean_overlap() -> None:
    counts = np.array([[50, 50, 100], [0, 0, 10], [0, 90, 0], [0, 5, 0]], float)
    cells = [c.strip() for c in row("mask", "network", counts, counts[:1]).split("|")[1:-1]]
    assert cells[:3] == ["mask", "2", "network"]
    assert cells[3].startswith(f"{50 / (145 + 110 - 50):.2f} [")
    assert cells[4].startswith("0.25 [")
    assert cells[5:] == ["0.50", f"{50 / 145:.2f}", f"{50 / 110:.2f}", "1 of 2"]
    empty = row("text", "network", np.zeros((2, 3)), np.zeros((2, 3)))
    assert empty == "| text | 0 | network | - | - | - | - | - | 0 of 2 |"


def test_thresholds_find_a_drawn_mask_and_round_dark_rims() -> None:
    assert not by_thresholds(bare()).any()
    masked = bare()
    cv2.fillPoly(masked, [box(60, 150, 196, 230).astype(np.int32)], (90, 140, 200))
    found = by_thresholds(masked) == MASK
    assert found[90, 64]
    assert not found[:70].any()
    worn = bare()
    for x, y in template(CROP)[:2]:
        cv2.circle(worn, (round(x), round(y) + 3), 25, (30, 30, 30), 3)
    found = by_thresholds(worn) == GLASSES
    for x, y in template(CROP)[:2] / 2:
        assert found[round(y), round(x)]
    assert 0.05 < found.mean() < 0.12


def test_thresholds_find_hair_over_the_forehead() -> None:
    fringe = bare()
    fringe[40:100] = (40, 30, 25)
    found = by_thresholds(fringe) == CLASSES.index("hair")
    assert found[40, 64]
    assert not found[64:].any()


def test_crops_are_those_of_the_pipeline_and_training_faces_are_refused(tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    (tmp_path / "real_photos").mkdir()
    picture = cv2.resize(bare(), (512, 512), interpolation=cv2.INTER_NEAREST)
    cv2.imwrite(str(tmp_path / "faces" / "a.png"), picture[..., ::-1])
    record = FaceRecord("a.png", "s", "real", "", 512, 512, "val", (0, 0, 256, 512))
    crop, valid = read_crop(tmp_path, Outlined("faces/a.png", ()), {"a.png": record})
    assert crop.shape == (CROP, CROP, 3)
    assert valid[:, :64].all()
    assert not valid[:, 64:].any()
    # The same face, shifted by 100 pixels to the left: what lies beyond the photo is not counted.
    cv2.imwrite(str(tmp_path / "real_photos" / "b.png"), picture[:, 100:, ::-1])
    photo = Outlined("real_photos/b.png", (), (template(512) - (100, 0)).astype(np.float32))
    shifted, seen = read_crop(tmp_path, photo, {})
    assert np.abs(shifted[:, 60:] - crop[:, 60:]).mean() < 0.01
    assert seen[:, 27:127].all()
    assert not seen[:, :24].any()
    for records in ({}, {"a.png": FaceRecord("a.png", "s", "real", "", 512, 512, "train")}):
        with pytest.raises(DataError, match="no face of split val"):
            read_crop(tmp_path, Outlined("faces/a.png", ()), records)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ('[{"file": "a"}]', "cannot be read"),
        (json.dumps([{"file": "a", "marks": [{"class": "moustache", "points": [[0, 0]]}]}]), "has moustache"),
    ],
)
def test_broken_outlines_are_refused(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "outlines.json"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        read_outlines(file)


def test_the_outlines_are_fifty_faces_within_their_crops() -> None:
    faces = read_outlines(polygons.PolygonsOptions().outlines)
    shown = Counter(kind for face in faces for kind in {o.kind for o in face.outlines})
    assert len(faces) == 50
    assert {name: shown[name] for name in CLASSES[1:]} == {
        "glasses": 23, "mask": 10, "hair": 8, "object": 12, "damage": 3, "text": 0,
    }  # fmt: skip
    points = np.concatenate([o.points for face in faces for o in face.outlines])
    assert points.min() >= 0
    assert points.max() <= 512
    assert all((face.landmarks is not None) == face.file.startswith("real_photos/") for face in faces)
