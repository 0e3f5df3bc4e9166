"""Flicker is bright on the sheet, motion is not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from experiments.video.flicker_sheet import FlickerSheetOptions, flicker, run, sheet
from likeness.errors import ConfigError, InputError, LikenessError, OutputError
from likeness.tasks.clips import moving, write_clip

STILL = astronaut()[0:192, 120:376]
MOVED = np.roll(STILL, 3, 1)


def large(picture: np.ndarray) -> np.ndarray:
    return cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)


def test_motion_is_no_flicker_and_a_change_of_light_is() -> None:
    frames = [p.astype(np.float32) for p in (STILL, MOVED, large(STILL), large(MOVED))]
    inside = np.s_[40:-40, 40:-40]
    plain = np.abs(frames[3] - frames[2])[inside].mean()
    assert flicker(*frames)[inside].mean() < 0.15 * plain
    frames[3] = frames[3] + 10
    assert np.median(flicker(*frames)[inside]) == pytest.approx(10, abs=1)
    still = [STILL.astype(np.float32)] * 2
    np.testing.assert_allclose(flicker(*still, still[0], still[0] + 7), 7, atol=1e-3)


def test_sheet_shows_input_result_and_flicker() -> None:
    bright = np.clip(STILL.astype(int) + 20, 0, 255).astype(np.uint8)
    before = [STILL, STILL, STILL]
    kept = [p.copy() for p in before]
    picture = sheet(before, [STILL, bright, bright], 256, 2.0)
    assert picture.shape == (3 * 192 + 2 * 4, 2 * 256 + 4, 3)
    np.testing.assert_array_equal(picture[:192, :256], STILL)
    np.testing.assert_array_equal(picture[196:388, :256], bright)
    assert np.median(picture[392:, :256]) == 40
    assert not picture[392:, 260:].any()
    for now, then in zip(before, kept, strict=True):
        np.testing.assert_array_equal(now, then)


def test_command_crops_to_the_box(tmp_path: Path) -> None:
    frames = list(moving(5, (96, 64), 40.0))
    write_clip(tmp_path / "a.mp4", frames, 10)
    write_clip(tmp_path / "b.mp4", [large(f) for f in frames], 10)
    words = {"before": str(tmp_path / "a.mp4"), "after": str(tmp_path / "b.mp4"), "dst": str(tmp_path / "x" / "s.png")}
    run(FlickerSheetOptions(**words, start=2, count=3, box="16,8,64,32", side=64))
    with Image.open(tmp_path / "x" / "s.png") as image:
        assert image.size == (3 * 64 + 2 * 4, 3 * 32 + 2 * 4)
        shown = np.asarray(image)[:32, :64].astype(float)
    assert np.abs(shown - frames[2][8:40, 16:80]).mean() < 8  # encoded, but the third frame
    assert np.abs(shown - frames[4][8:40, 16:80]).mean() > 2 * np.abs(shown - frames[2][8:40, 16:80]).mean()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"start": 0}, ConfigError, "start=0"),
        ({"count": 9}, InputError, "got 3 frames from 1 on, expected 9"),
        ({"box": "1,2,3"}, ConfigError, "box: got '1,2,3'"),
        ({"box": "80,0,32,32"}, ConfigError, "within the frame's 96 x 64"),
        ({"after": "odd.mp4"}, InputError, "got 100 x 64 for 96 x 64"),
        ({"dst": "a.mp4/s.png"}, OutputError, "cannot write"),
    ],
    ids=["start", "too short", "not a box", "outside", "sizes", "target"],
)
def test_unfitting_clips_and_options_are_refused(
    options: dict[str, object],
    error: type[LikenessError],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(Path("a.mp4"), list(moving(4, (96, 64), 40.0)), 20)
    write_clip(Path("odd.mp4"), list(moving(4, (100, 64), 40.0)), 20)
    with pytest.raises(error, match=message):
        run(FlickerSheetOptions(**({"before": "a.mp4", "after": "a.mp4", "dst": "s.png", "count": 2} | options)))  # type: ignore[arg-type]
