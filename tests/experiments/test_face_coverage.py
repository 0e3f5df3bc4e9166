"""Detected and restored faces, counted in reports written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.coverage.face_coverage import FaceCoverageOptions, Listed, compare, main, parse_faces, run
from likeness.errors import DataError

LISTED = {
    "none": ("0", Listed("a", 0, 0, 0, 0), 0),
    "one": ("1 / 148 px", Listed("a", 1, 148, 148, 148), 1),
    "one too small": ("1 / 53 px", Listed("a", 1, 53, 53, 53), 0),
    "all wide enough": ("2 / 60-63 (med 61) px", Listed("a", 2, 60, 61, 63), 2),
    "half of them": ("5 / 42-148 (med 70) px", Listed("a", 5, 42, 70, 148), 3),
    "most of them small": ("5 / 42-148 (med 50) px", Listed("a", 5, 42, 50, 148), 0),
    "a clip's lower count": ("1-3 / 62-131 (med 77) px", Listed("a", 1, 62, 77, 131), 1),
}


@pytest.mark.parametrize("name", LISTED)
def test_list_is_parsed(name: str) -> None:
    text, expected, faces = LISTED[name]
    assert parse_faces("a", text) == expected
    assert expected.expected(60) == faces


def test_another_notation_is_refused() -> None:
    with pytest.raises(DataError, match="many"):
        parse_faces("a", "many")


def face(route: str, restored: int, reason: str = "", note: str = "") -> dict[str, Any]:
    return {"route": route, "restored_frames": restored, "reason": reason, "notes": [note] if note else []}


PHOTO = {
    "input": {"kind": "photo", "file": "/x/a.jpg"},
    "faces": [
        face("expert_f", 1),
        face("expert_t", 0, note="guard: 0.61 over 0.5"),
        face("skip", 0, "too small: 38 px"),
        face("skip", 0, "too small: 41 px"),
    ],
}
CLIP = {"input": {"kind": "video", "file": "/x/b.mp4"}, "faces": [face("expert_f", 7), face("resize", 0, "good")]}
FRAMES = [{"faces": [{}] * n} for n in (2, 1, 2, 0, 3)]


def test_photo_is_counted_by_faces() -> None:
    coverage = compare(Listed("a.jpg", 3, 70, 80, 90), PHOTO, [], 60)
    assert (coverage.expected, coverage.detected, coverage.total) == (3, 3, 3)
    assert (coverage.restorable, coverage.restored) == (2, 1)
    assert coverage.reasons == {"guard: N over N": 1, "too small: N px": 2}


def test_more_faces_than_listed_count_as_listed() -> None:
    assert compare(Listed("a.jpg", 1, 70, 80, 90), PHOTO, [], 60).detected == 1
    assert compare(Listed("a.jpg", 9, 70, 80, 90), PHOTO, [], 60).detected == 4


def test_clip_is_counted_by_frames() -> None:
    coverage = compare(Listed("b.mp4", 2, 70, 80, 90), CLIP, FRAMES, 60)
    assert (coverage.expected, coverage.detected, coverage.total) == (2, 3, 5)
    assert (coverage.restorable, coverage.restored) == (1, 1)


def test_clip_without_expected_faces_counts_for_nothing() -> None:
    coverage = compare(Listed("b.mp4", 2, 20, 30, 40), CLIP, FRAMES, 60)
    assert (coverage.expected, coverage.detected, coverage.total) == (0, 0, 0)


def test_track_that_ends_as_good_counts_as_restored() -> None:
    report = CLIP | {"faces": [face("resize", 200, "good")]}
    coverage = compare(Listed("b.mp4", 1, 70, 80, 90), report, FRAMES, 60)
    assert (coverage.restorable, coverage.restored, dict(coverage.reasons)) == (1, 1, {})


def test_truncated_frames_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_text("file,faces / width\nb.mp4,2 / 70 px\n")
    (tmp_path / "b_report.json").write_text(json.dumps(CLIP))
    (tmp_path / "b_frames.jsonl").write_text('{"faces": [')
    with pytest.raises(DataError, match="give index"):
        run(FaceCoverageOptions(str(tmp_path / "index.csv"), str(tmp_path), str(tmp_path / "t.md")))


def test_command_accounts_for_every_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = tmp_path / "media/index.csv"
    index.parent.mkdir()
    index.write_text('file,faces / width\na.jpg,3 / 70-90 (med 80) px\nb.mp4,2 / 70 px\n"c, d.png",1 / 99 px\n')
    for name, report in (("a", PHOTO), ("b", CLIP)):
        (tmp_path / "out" / name).mkdir(parents=True)
        (tmp_path / "out" / name / f"{name}_report.json").write_text(json.dumps(report))
    (tmp_path / "out/b/b_frames.jsonl").write_text("".join(json.dumps(f) + "\n" for f in FRAMES))
    words = [f"index={index}", f"reports={tmp_path}/out", f"dst={tmp_path}/new/t.md"]
    assert main(words) == 0
    text = (tmp_path / "new/t.md").read_text()
    printed = capsys.readouterr().out
    for line in (
        "- files with a result: 2 of 3 (66.7 %)",
        "- faces found in photos: 3 of 3 (100.0 %)",
        "- frames of clips with the faces they must have: 3 of 5 (60.0 %)",
        "- restored of those that an expert was chosen for: 2 of 3 (66.7 %)",
        "- without a result: c, d.png",
        "- left as it was, 2 times: too small: N px",
    ):
        assert line in text
        assert line in printed
    assert "| b.mp4 | 2 | 3 of 5 | 1 | 1 |" in text


def test_missing_reports_are_named(tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_text("file,faces / width\n")
    with pytest.raises(DataError, match=r"run infer\.py"):
        run(FaceCoverageOptions(str(tmp_path / "index.csv"), str(tmp_path), str(tmp_path / "t.md")))
