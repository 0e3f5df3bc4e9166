"""Media below a folder are found, and no two inputs share a folder for their results."""

from __future__ import annotations

from pathlib import Path

import pytest

from likeness.errors import InputError
from likeness.media.folders import find_media, output_dirs, survey

JPEG = b"\xff\xd8\xff\xe0" + bytes(20)
FILES = {
    "a.jpg": JPEG,
    "b/C.PNG": b"\x89PNG\r\n\x1a\n" + bytes(20),
    "b/e/f.vob": b"\x00\x00\x01\xba" + bytes(20),
    "b/no suffix": b"GIF89a" + bytes(20),
    "b/z.jp2": b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(20),
    "c.m2v": b"\x00\x00\x01\xb3" + bytes(20),
    "d.txt": JPEG,  # the content decides
}
BROKEN = {"b.jpg": b"", "e.mp4": b"words", "f.png": b"\x03\x07" * 9, "g.gif": b"<!DOCTYPE html><p>404"}
SKIPPED = {
    "text file": {"index.csv": b"a,b\n", "notes.txt": "größer\n".encode() * 200},
    "empty file": {"b/marker": b""},
    "hidden file": {".hidden.jpg": JPEG, ".DS_Store": b"\x00"},
    "camera raw file": {"i.raf": b"FUJIFILMCCD-RAW 0201", "j.cr3": b"\x00\x00\x00\x18ftypcrx " + bytes(20)},
    "sequence of HEIC pictures": {"k.heics": b"\x00\x00\x00\x18ftyphevc\x00\x00\x00\x00msf1hevc" + bytes(20)},
    "sound file": {"l.mp3": b"ID3" + bytes(20), "m.m4a": b"\x00\x00\x00\x18ftypM4A " + bytes(20)},
    "PDF document": {"n.pdf": b"%PDF-1.7" + bytes(20)},
    "web page": {"o.htm": b"\n<html><body>"},
    "SVG drawing": {"p.svg": b'<?xml version="1.0"?><svg/>'},
    "file of unknown kind": {"q.bin": b"\x01\x02\x03\x04" * 9},
}


def fill(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def test_media_are_found_by_content_and_all_else_is_counted_by_kind(tmp_path):
    fill(tmp_path, FILES)
    fill(tmp_path, BROKEN)
    for files in SKIPPED.values():
        fill(tmp_path, files)
    (tmp_path / ".cache").mkdir()
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "link.jpg").symlink_to(tmp_path / "a.jpg")
    found = survey(tmp_path)
    expected = sorted([*FILES, *BROKEN, "link.jpg"], key=Path)
    assert [str(p.relative_to(tmp_path)) for p in found.media] == expected
    assert find_media(tmp_path) == found.media
    counts = {kind.name: count for kind, count in found.skipped.items()}
    assert counts == {name: len(files) for name, files in SKIPPED.items()} | {"linked folder": 1, "hidden folder": 1}
    text = found.skipped_text()
    assert "2 camera raw files (export a JPEG or TIFF first)" in text
    assert "1 sequence of HEIC pictures (export it as MP4 or GIF first)" in text


def test_the_results_folder_is_left_out(tmp_path):
    fill(tmp_path, {"a.jpg": JPEG, "out/a/a.jpg": JPEG, "out/a/a_report.json": b"{}"})
    found = survey(tmp_path, without=tmp_path / "out")
    assert found.media == [tmp_path / "a.jpg"]
    assert not found.skipped


def test_no_folder_is_refused(tmp_path):
    fill(tmp_path, {"a.jpg": JPEG})
    with pytest.raises(InputError, match="is a file"):
        find_media(tmp_path / "a.jpg")
    with pytest.raises(InputError, match="does not exist"):
        find_media(tmp_path / "nowhere")


ROOT = Path("out")


@pytest.mark.parametrize(
    ("paths", "base", "expected"),
    [
        pytest.param(["x/a.jpg", "y/b.png"], None, ["a", "b"], id="plain"),
        pytest.param(["a.jpg", "a.png", "b.png"], None, ["a_jpg", "a_png", "b"], id="same stem"),
        pytest.param(["x/a.jpg", "y/a.jpg"], None, ["a_jpg", "a_jpg_2"], id="same name, flat"),
        pytest.param(["x/a.jpg", "y/a.jpg"], ".", ["x/a", "y/a"], id="same name, mirrored"),
        pytest.param(["x/a.jpg", "x/a.png", "x/z/a.png"], "x", ["a_jpg", "a_png", "z/a"], id="tree"),
        pytest.param(["A.jpg", "a.png"], None, ["A_jpg", "a_png"], id="case"),
        pytest.param(["a.jpg", "a.png", "a_jpg.gif"], None, ["a_jpg_2", "a_png", "a_jpg"], id="numbered name taken"),
        pytest.param(["a.jpg", "a.jpg"], None, ["a"], id="named twice"),
        pytest.param(["...jpg", "x/...png"], None, ["...jpg", "...png"], id="dots"),
        pytest.param(["x/..jpg", "y/..jpg"], None, ["..jpg_jpg", "..jpg_jpg_2"], id="dots twice"),
        pytest.param(["no suffix", "no suffix.png"], None, ["no suffix", "no suffix_png"], id="without suffix"),
    ],
)
def test_every_input_gets_its_own_folder(paths, base, expected):
    inputs = [Path(p) for p in paths]
    folders = output_dirs(inputs, ROOT, None if base is None else Path(base))
    assert list(folders.values()) == [ROOT / name for name in expected]
    assert list(folders) == list(dict.fromkeys(inputs))


def test_an_input_beside_the_base_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not lie below"):
        output_dirs([tmp_path / "a.jpg"], ROOT, tmp_path / "b")
