"""Manifests, splits and the cache."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from likeness.data.faces import (
    FaceRecord,
    cached_faces,
    is_calib,
    read_face,
    read_manifest,
    split_records,
    valid_mask,
)
from likeness.data.synthetic_faces import draw_face
from likeness.errors import ConfigError, DataError
from likeness.ops.geometry import template
from likeness.ops.resize import resize


def record(i: int, split: str = "train") -> FaceRecord:
    return FaceRecord(f"set/{i:05d}.png", "set", "real", "", 512, 600.0, split)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three PNG faces, one of 256 pixels, and their manifest."""
    folder = tmp_path / "set"
    folder.mkdir()
    records = [record(0), record(1, "val"), replace(record(2), size=256, native_px=300.0)]
    for i, r in enumerate(records):
        Image.fromarray(draw_face(r.size, i)).save(tmp_path / r.file)
    with (tmp_path / "manifest.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, [*FaceRecord.__dataclass_fields__, "source_md5"])
        writer.writeheader()
        writer.writerows(
            {**{f: getattr(r, f) for f in FaceRecord.__dataclass_fields__}, "source_md5": "x"} for r in records
        )
    return tmp_path


def test_manifest_rows_become_typed_records(root: Path) -> None:
    records = read_manifest(root)
    assert records == [record(0), record(1, "val"), replace(record(2), size=256, native_px=300.0)]
    assert [r.sharp for r in records] == [True, True, False]


BOXES = {
    "none": ("", None),
    "some": ("0 100 512 488", (0, 100, 512, 488)),
}


@pytest.mark.parametrize("name", BOXES)
def test_valid_box_is_read(name: str, root: Path) -> None:
    text, expected = BOXES[name]
    rows = list(csv.DictReader((root / "manifest.csv").open()))
    with (root / "manifest.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "valid_box": text} for row in rows)
    assert {r.valid_box for r in read_manifest(root)} == {expected}


def test_broken_valid_box_is_an_error_that_names_the_face(root: Path) -> None:
    text = (root / "manifest.csv").read_text().replace("valid_box", "valid_box", 1).splitlines()
    column = text[0].split(",").index("valid_box")
    row = text[1].split(",")
    row[column] = "1 2 3"
    (root / "manifest.csv").write_text("\n".join([text[0], ",".join(row), *text[2:]]))
    with pytest.raises(DataError, match=r"00000\.png has valid_box '1 2 3', expected x0 y0 x1 y1"):
        read_manifest(root)


MASKS = {
    "all": (None, 512, 256, 256 * 256),
    "halves": ((0, 256, 512, 512), 512, 256, 256 * 128),
    "pixels cut by the border are not valid": ((1, 0, 511, 512), 512, 256, 254 * 256),
    "a file of 256": ((0, 0, 128, 256), 256, 256, 128 * 256),
}


@pytest.mark.parametrize("name", MASKS)
def test_valid_mask_counts_whole_pixels_only(name: str) -> None:
    box, size, edge, expected = MASKS[name]
    mask = valid_mask(box, size, edge)
    assert mask.shape == (edge, edge)
    assert mask.sum() == expected


SHARP = {"exactly enough": (512, 448.0, True), "enlarged": (512, 447.9, False), "small file": (256, 600.0, False)}


@pytest.mark.parametrize("name", SHARP)
def test_face_is_sharp_if_file_and_source_are_large_enough(name: str) -> None:
    size, native, sharp = SHARP[name]
    assert replace(record(0), size=size, native_px=native).sharp is sharp


BROKEN = {
    "no file": (None, "does not exist; set data.root"),
    "empty": ("", "no rows or columns missing"),
    "header only": ("file,set,kind,group,size,native_px,split\n", "no rows"),
    "column missing": ("file,set,kind,group,size,split\na.png,s,real,,512,val\n", "native_px"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_manifest_is_refused(name: str, tmp_path: Path) -> None:
    text, message = BROKEN[name]
    if text is not None:
        (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_manifest(tmp_path)


def test_splits_are_disjoint_and_complete_in_any_order() -> None:
    records = [record(i, "val" if i % 10 == 0 else "train") for i in range(3000)]
    parts = {name: split_records(records, name) for name in ("train", "val", "calib")}  # type: ignore[arg-type]
    files = [r.file for part in parts.values() for r in part]
    assert sorted(files) == sorted(r.file for r in records)
    assert len(set(files)) == len(files)
    assert all(r.split == "val" for r in parts["val"])
    assert len(parts["calib"]) / 2700 == pytest.approx(0.1, abs=0.02)
    shuffled = list(np.random.default_rng(0).permutation(np.array(records, object)))
    assert set(split_records(shuffled, "calib")) == set(parts["calib"])
    # Additional faces do not change the split of others.
    assert set(split_records(records[:100], "calib")) <= set(parts["calib"])


def test_calibration_faces_are_the_same_in_every_version() -> None:
    """With another hash, released weights would have been trained on calibration faces."""
    assert [i for i in range(60) if is_calib(record(i))] == [43, 45, 55]
    assert not is_calib(record(43, "val"))


def test_unknown_split_is_refused() -> None:
    with pytest.raises(ConfigError, match="got 'test', expected train, val or calib"):
        split_records([], "test")  # type: ignore[arg-type]


def test_face_is_read_without_change(root: Path) -> None:
    assert_array_equal(read_face(root, record(1)), draw_face(512, 1))


def test_damaged_face_is_an_error_that_names_the_file(root: Path) -> None:
    (root / "set/00001.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"00001\.png: cannot be read"):
        read_face(root, record(1))


def test_downscaling_averages_and_upscaling_keeps_the_position() -> None:
    face = draw_face(512, 3)
    mean = face.reshape(256, 2, 256, 2, 3).mean((1, 3))
    assert np.abs(resize(face, 256, 256) - mean).max() <= 0.75
    assert resize(face, 512, 512) is face
    # Enlarged and downscaled again, it is nearly the same, so nothing moved by half a pixel.
    back = resize(resize(face, 1024, 1024), 512, 512)
    assert np.abs(back.astype(int) - face).mean() < 1


def test_cache_equals_the_files_and_is_written_once(root: Path, tmp_path: Path) -> None:
    records, cache = read_manifest(root), tmp_path / "cache"
    first = cached_faces(root, records, cache)
    for i, r in enumerate(records):
        assert_array_equal(first[i], read_face(root, r))
    file = next(cache.glob("*.npy"))
    stamp = file.stat().st_mtime_ns
    again = cached_faces(root, records, cache)
    assert_array_equal(again, first)
    assert file.stat().st_mtime_ns == stamp
    assert len(list(cache.iterdir())) == 1
    with pytest.raises(ValueError, match="read-only"):
        again[0, 0, 0, 0] = 1


def test_other_list_or_size_has_another_cache_file(root: Path, tmp_path: Path) -> None:
    records, cache = read_manifest(root), tmp_path / "cache"
    cached_faces(root, records, cache)
    reversed_ = cached_faces(root, records[::-1], cache)
    assert_array_equal(reversed_[0], read_face(root, records[-1]))
    assert cached_faces(root, records[:1], cache, size=64).shape == (1, 64, 64, 3)
    assert len(list(cache.iterdir())) == 3


def test_interrupted_cache_leaves_no_file_with_the_final_name(root: Path, tmp_path: Path) -> None:
    (root / "set/00002.png").unlink()
    with pytest.raises(DataError):
        cached_faces(root, read_manifest(root), tmp_path / "cache")
    assert not [f for f in (tmp_path / "cache").iterdir() if not f.name.endswith(".partial.npy")]


def test_cartoon_depends_on_its_seed_and_has_eyes_at_the_template() -> None:
    face = draw_face(512, 4)
    assert_array_equal(face, draw_face(512, 4))
    assert (face != draw_face(512, 5)).mean() > 0.2
    # Dark pupils lie at the template's eyes, with the white of the eye beside them.
    for x, y in template(512)[:2].round().astype(int):
        assert face[y - 1 : y + 2, x - 1 : x + 2].mean() < 40
        assert face[y, x + 18].mean() > 200


@pytest.mark.data
def test_real_manifest_has_unique_files_and_readable_faces(data_root: Path) -> None:
    records = read_manifest(data_root / "faces")
    assert len({r.file for r in records}) == len(records)
    for name in ("train", "val", "calib"):
        part = split_records(records, name)  # type: ignore[arg-type]
        assert part
        face = read_face(data_root / "faces", part[0])
        assert face.shape == (512, 512, 3)
