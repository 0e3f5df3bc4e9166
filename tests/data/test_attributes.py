"""Attributes from a file, and how much more often rare ones are drawn."""

from __future__ import annotations

from pathlib import Path

import pytest

from likeness.data.attributes import rarity, read_attributes
from likeness.errors import ConfigError, DataError

FOUND = {"a.png": frozenset({"glasses", "hat"}), "b.png": frozenset({"child"}), "c.png": frozenset[str]()}


def test_attributes_are_read_by_face(tmp_path: Path) -> None:
    file = tmp_path / "attributes.csv"
    file.write_text("file,split,attributes\na.png,train,glasses hat\nb.png,val,child\nc.png,train\n")
    assert read_attributes(file) == FOUND


def test_faces_judged_for_some_attributes_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "by_eye.csv"
    file.write_text("file,attributes,judged\na.png,hat,\nb.png,hat,hat\nc.png,,hat\nd.png,,\n")
    assert read_attributes(file) == {"a.png": frozenset({"hat"}), "d.png": frozenset()}


BAD = {
    "missing": (None, "cannot be read"),
    "no column": ("file,worn\na.png,hat\n", "lacks a column"),
    "no rows": ("file,attributes\n", "has no rows"),
    "unknown": ("file,attributes\na.png,hat monocle\n", "names monocle; expected some of glasses"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_list_of_attributes_is_refused(name: str, tmp_path: Path) -> None:
    text, message = BAD[name]
    file = tmp_path / "attributes.csv"
    if text is not None:
        file.write_text(text)
    with pytest.raises(DataError, match=message):
        read_attributes(file)


def test_the_rarest_attribute_of_a_face_counts() -> None:
    files = ["a.png", "b.png", "c.png", "d.png"]
    assert rarity(files, FOUND, {"glasses": 2.0, "hat": 3.0}) == [3.0, 1.0, 1.0, 1.0]
    assert rarity(files, FOUND, {}) == [1.0] * 4


@pytest.mark.parametrize("factors", [{"monocle": 2.0}, {"hat": 0.5}], ids=["unknown", "below 1"])
def test_factors_that_make_no_sense_are_refused(factors: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"data\.rare: got"):
        rarity(["a.png"], FOUND, factors)
