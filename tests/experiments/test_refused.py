"""Good faces in larger pictures: where they are pasted, whether they are found there, and the table of their rates."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from experiments.coverage.refused import GoodFace, RefusedOptions, pasted, search_for, table
from likeness.errors import DataError
from likeness.stages.detect.mtcnn import MtcnnDetector

COLUMNS = ("file", "set", "kind", "group", "size", "native_px", "split")


@pytest.fixture
def data(tmp_path):
    """Two held-out faces."""
    (tmp_path / "faces").mkdir()
    with (tmp_path / "faces" / "manifest.csv").open("w", newline="") as handle:
        rows = csv.writer(handle)
        rows.writerow(COLUMNS)
        for i in range(2):
            rows.writerow([f"{i}.png", "nasa", "real", "", 256, 256, "val"])
            Image.fromarray(astronaut()[:256, 96:352]).save(tmp_path / "faces" / f"{i}.png")
    return tmp_path


def test_pasted_faces_lie_where_they_are_said_to_and_are_found(data) -> None:
    options = RefusedOptions(pasted=2, narrow=70, wide=90)
    first = list(pasted(options, data))
    assert sorted(file for file, *_ in first) == ["0.png", "1.png"]
    for (_, picture, centre), (_, again, _) in zip(first, pasted(options, data), strict=True):
        assert picture.shape == (400, 600, 3)
        assert np.array_equal(picture, again)
        found = search_for("pasted", "a", picture, centre, MtcnnDetector())
        assert 40 < found.width < 70  # its face is smaller than an aligned one
        assert found.doubt == ""
    assert search_for("pasted", "a", first[0][1], np.array([-9.0, -9.0]), MtcnnDetector()).width == 0


def test_more_faces_than_there_are_is_an_error(data) -> None:
    with pytest.raises(DataError, match="at most the 2 held-out faces"):
        next(pasted(RefusedOptions(pasted=3), data))


def test_the_table_counts_the_refused_among_the_found() -> None:
    rows = [GoodFace("LFW", str(i), 50.0 + 10 * i, 0.99, 0.1) for i in range(9)]
    rows += [GoodFace("LFW", "bad", 45.0, 0.95, 0.5, "landmarks move by 0.50"), GoodFace("LFW", "unseen")]
    lines = table(rows)
    assert lines[2].startswith("| LFW | 11 | 10 | 10.0 [")
    assert [line.split(" | ")[0] for line in lines if "px" in line] == [
        "| LFW, 0 to 60 px", "| LFW, 60 to 100 px", "| LFW, from 100 px",
    ]  # fmt: skip
    assert lines[-1] == "| bad | 45 | 0.950 | 0.50 | landmarks move by 0.50 |"
