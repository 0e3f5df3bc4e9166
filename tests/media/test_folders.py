"""Media below a folder are found, and no two inputs share a folder for their results."""

from __future__ import annotations

from pathlib import Path

import pytest

from likeness.errors import InputError
from likeness.media.folders import find_media, output_dirs


def test_media_are_found_by_suffix_and_hidden_ones_are_not(tmp_path):
    media = ["a.jpg", "b/C.PNG", "b/d.gif", "b/e/f.mp4", "z.webm"]
    for name in [*media, "notes.txt", "index.csv", ".hidden.jpg", ".cache/g.png"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    assert [str(p.relative_to(tmp_path)) for p in find_media(tmp_path)] == media
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
