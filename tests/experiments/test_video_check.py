"""The check of restored clips, on results with known faults."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.video.video_check import VideoCheckOptions, compare, main, run
from likeness.errors import DataError
from likeness.media.video_reader import VideoReader
from likeness.media.video_writer import VideoWriter
from likeness.pipeline.config import RestorerConfig, time_range_of
from likeness.tasks.clips import moving, write_clip
from likeness.types import Frame

FACE = {"frames": 12, "restored_frames": 10, "propagated_frames": 5, "identity_spread": 0.1234}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames with sound, another shot from the seventh on."""
    path = tmp_path_factory.mktemp("streams") / "a.mp4"
    frames = list(moving(12, (96, 64), 40.0))
    write_clip(path, [f if i < 6 else 255 - f for i, f in enumerate(frames)], 18)
    return path


def copied(source: Path, target: Path, change: Callable[[Frame], Frame | None]) -> None:
    """The clip written anew, each frame changed or left out."""
    with VideoReader(source) as reader, VideoWriter(target, reader, 96, 64) as writer:
        for frame in reader:
            if (changed := change(frame)) is not None:
                writer.write(changed)


def report(source: Path, target: Path, **settings: Any) -> dict[str, Any]:
    """Of two tracks: one goes over to Expert-T, to none and back to it, the other keeps its expert over a gap."""
    experts = [("expert_f", "expert_t"), ("expert_t", None), (None, None), ("expert_t", "expert_t")]
    faces = [[{"track": k, "expert": e} for k, e in enumerate(es) if k == 0 or e is not None] for es in experts]
    log = target.with_suffix(".jsonl")
    log.write_text("".join(json.dumps({"frame": i, "faces": check}) + "\n" for i, check in enumerate(faces)))
    return {
        "input": {"file": str(source), "kind": "video"},
        "outputs": {"restored": str(target), "frames": str(log)},
        "settings": asdict(RestorerConfig(**settings)),
        "faces": [FACE],
        "totals": {"frames_per_second": 3.456, "errors": {"damaged packets": 2}},
    }


def late(frame: Frame) -> Frame:
    return frame if frame.index < 10 else replace(frame, time=frame.time + Fraction(1, 25))


CASES: dict[str, tuple[Callable[[Frame], Frame | None], tuple[int, int, int]]] = {
    "whole": (lambda f: f, (12, 12, 0)),
    "the last one missing": (lambda f: None if f.index == 11 else f, (12, 11, 0)),
    "two late": (late, (12, 12, 2)),
    "other pictures": (lambda f: replace(f, pixels=np.zeros_like(f.pixels)), (12, 12, 0)),
}


@pytest.mark.parametrize("name", CASES)
def test_missing_and_late_frames_are_counted(source: Path, tmp_path: Path, name: str) -> None:
    change, expected = CASES[name]
    copied(source, tmp_path / "b.mp4", change)
    check = compare(report(source, tmp_path / "b.mp4"), {"a.mp4": 1})
    assert (check.frames, check.written, check.late) == expected
    assert (check.sound, check.cuts, check.changes) == ("same", (1, 1), 3)
    assert check.complete == (name in ("whole", "other pictures"))


def test_part_of_a_clip_is_compared_with_that_part(source: Path, tmp_path: Path) -> None:
    part = time_range_of(RestorerConfig(start=0.12, preview=0.2))
    with VideoReader(source, part) as reader, VideoWriter(tmp_path / "b.mp4", reader, 96, 64) as writer:
        for frame in reader:
            writer.write(frame)
    check = compare(report(source, tmp_path / "b.mp4", start=0.12, preview=0.2), {})
    assert (check.frames, check.written, check.late, check.sound) == (5, 5, 0, "cut")
    assert check.complete
    assert not compare(report(source, tmp_path / "b.mp4"), {}).complete


def test_lost_sound_is_reported(source: Path, tmp_path: Path) -> None:
    mute = tmp_path / "mute.mkv"
    with VideoReader(source) as reader:
        write_clip(mute, (f.pixels for f in reader), 18)
    # The same clip twice has the same chord; a picture alone has none.
    assert compare(report(source, mute), {}).sound == "same"
    from likeness.media.gif import GifWriter

    with VideoReader(source) as reader, GifWriter(tmp_path / "b.gif", reader.info) as writer:
        for frame in reader:
            writer.write(frame)
    check = compare(report(source, tmp_path / "b.gif"), {})
    assert check.sound == "changed"
    assert not check.complete
    assert check.cuts == (1, None)


def test_command_writes_a_row_for_each_clip(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copied(source, tmp_path / "b.mp4", lambda f: f)
    (tmp_path / "b_report.json").write_text(json.dumps(report(source, tmp_path / "b.mp4")))
    photo = {"input": {"kind": "photo", "file": "p.png"}}
    (tmp_path / "p_report.json").write_text(json.dumps(photo))
    (tmp_path / "index.csv").write_text("file,cuts\na.mp4,2\nz.mp4,\n")
    words = [f"reports=[{tmp_path}]", f"index=[{tmp_path}/index.csv]", f"dst={tmp_path}/t.md"]
    assert main(words) == 0
    assert "1 of 1" in capsys.readouterr().out
    text = (tmp_path / "t.md").read_text()
    for line in (
        "- complete, in time and with their sound: 1 of 1",
        "- clips with as many cuts detected as listed: 0 of 1",
    ):
        assert line in text
    row = "| a.mp4 | balanced | 12 of 12 | 0 | same | 1 of 2 | 1 | 3 | 10 of 12 | 50% | 0.123 | 3.5 |"
    assert f"{row} damaged packets: 2 |" in text


def test_missing_clips_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"run infer\.py"):
        run(VideoCheckOptions(str(tmp_path / "t.md"), [str(tmp_path)]))
    (tmp_path / "a_report.json").write_text("{")
    with pytest.raises(DataError, match="give reports"):
        run(VideoCheckOptions(str(tmp_path / "t.md"), [str(tmp_path)]))
