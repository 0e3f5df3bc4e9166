"""Grids of faces: where each tile lies, and what a line of the table counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments.video import grid
from likeness.errors import DataError
from likeness.pipeline.config import from_overrides
from likeness.pipeline.state import Context
from likeness.pipeline.video import restore_video
from likeness.types import Faces, Pixels


def test_tile_is_the_upper_middle_of_the_picture_at_its_size() -> None:
    picture = np.zeros((200, 100, 3), np.uint8)
    picture[50:100] = 255  # a quarter of what is cut off lies above
    tile = grid.tile_of(picture, 50, 50)
    assert tile.shape == (50, 50, 3)
    np.testing.assert_array_equal(tile[15:35], 255)
    assert tile[-10:].max() == 0


def test_clips_fill_the_tiles_row_by_row_and_begin_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: Path, count: int, start: int) -> list[Pixels]:
        return [np.full((90, 160, 3), int(path.stem) + start, np.uint8)] * count

    monkeypatch.setattr(grid, "read_clip", read)
    frames = grid.build([Path("10.mp4"), Path("20.mp4"), Path("30.mp4")], 2, 4)
    assert [f.pixels.shape for f in frames] == [(720, 1280, 3)] * 4
    assert frames[-1].pixels[::360, ::640, 0].tolist() == [[10, 20], [30, 10 + grid.RATE]]


def test_clip_that_is_too_short_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid, "read_clip", lambda path, count, start: [np.zeros((9, 16, 3), np.uint8)])
    with pytest.raises(DataError, match=r"frames: got 4, but a\.mp4 has 1 from there on"):
        grid.build([Path("a.mp4")], 1, 4)


def test_line_counts_faces_tracks_and_reasons(scene, face_at, make_models) -> None:
    """A face that is restored and a small one that is left alone, in two of four tiles."""
    large, small = face_at(150, 110, 120), face_at(900, 500, 20)
    both = Faces(
        *(np.concatenate([getattr(f, n) for f in (large, small)]) for n in ("boxes", "scores", "landmarks", "looks"))
    )
    canvas = np.zeros((720, 1280, 3), np.uint8)
    canvas[: scene.shape[0], : scene.shape[1]] = scene
    frames = [grid.Frame(canvas, 0, grid.Fraction(0), grid.Fraction(1, 25))]
    context = Context(make_models(both), from_overrides(["guard.enabled=false"]), "video", 1)
    cells = grid.row(2, [result for _, result, _ in restore_video(frames, context)], 0.5).split(" | ")
    assert cells[:3] == ["| 4 tiles", "2", "2.0"]
    assert cells[4].startswith("1.0")
    assert cells[5].endswith(": 1")
    assert cells[6:8] == ["0", "no"]
    assert cells[8] == "500 |"
