"""The search of a picture, its faces tested, and the table of those that only the whole search finds."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from experiments.coverage.search import FoundFace, SearchOptions, faces_of, run, table
from likeness.errors import DataError
from likeness.pipeline.config import RestorerConfig
from likeness.stages.detect.mtcnn import MtcnnDetector

CONFIG = RestorerConfig()


@pytest.mark.parametrize(("turn", "look"), [(0, ""), (2, "turned by 180 degrees")])
def test_a_face_is_known_by_the_search_that_found_it(turn: int, look: str) -> None:
    picture = np.ascontiguousarray(np.rot90(astronaut()[:240, 120:360], turn))
    (face,) = faces_of("a", 3, picture, MtcnnDetector(CONFIG.detect), CONFIG)
    assert (face.file, face.frame, face.look, face.first, face.doubt) == ("a", 3, look, not turn, "")
    assert 80 < face.width < 130
    assert face.score > 0.98


def test_the_table_lists_new_and_doubtful_faces() -> None:
    plain = FoundFace("a", 0, 90, 0.99, "", True, 0.1, 0.04, "")
    new = FoundFace("b", 10, 60, 0.985, "grey and equalised", False, 0.2, 0.0, "")
    bad = FoundFace("c", 0, 80, 0.95, "", True, 0.3, 0.5, "landmarks move by 0.50")
    lines = table([plain, new, bad], 12, 3)
    assert "- restorable faces that the detector alone finds: 2" in lines
    assert "- more by tiles or a second look: 1" in lines
    assert "- left alone, as their landmarks are implausible: 1" in lines
    assert [line.split(" | ")[0] for line in lines[8:]] == ["| b", "| c"]
    assert "grey and equalised" in lines[8]
    assert lines[9].endswith("first search | yes |")


def test_a_folder_is_searched_and_a_table_written(tmp_path, capsys) -> None:
    (tmp_path / "in").mkdir()
    picture = np.ascontiguousarray(astronaut()[:240, 120:360, ::-1])
    cv2.imwrite(str(tmp_path / "in" / "a.png"), picture)
    run(SearchOptions(src=str(tmp_path / "in"), dst=str(tmp_path / "t.md")))
    assert "files: 1; frames searched: 1" in capsys.readouterr().out
    assert "detector alone finds: 1" in (tmp_path / "t.md").read_text()
    with pytest.raises(DataError, match="holds no photo"):
        run(SearchOptions(src=str(tmp_path / "in"), dst=str(tmp_path / "t.md"), names="b"))
