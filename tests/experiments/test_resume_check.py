"""The comparison of two clips, and killing a process."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from experiments.video.resume_check import ResumeCheckOptions, different, run, run_until
from likeness.errors import ConfigError, LikenessError
from likeness.tasks.clips import moving, write_clip


def test_different_and_missing_frames_are_counted(tmp_path: Path) -> None:
    frames = list(moving(6, (96, 64), 40.0))
    write_clip(tmp_path / "a.mp4", frames, 20)
    write_clip(tmp_path / "b.mp4", frames[:4], 20)
    other = [*frames[:5], np.zeros_like(frames[5])]
    write_clip(tmp_path / "c.mp4", other, 0)
    assert different(tmp_path / "a.mp4", tmp_path / "a.mp4") == (6, 0)
    count, unequal = different(tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert count == 6
    assert unequal >= 2  # two are missing; the encoder may write the others otherwise
    assert different(tmp_path / "a.mp4", tmp_path / "c.mp4")[1] >= 1


def test_command_is_killed_or_ends() -> None:
    assert run_until([sys.executable, "-c", "pass"], 60)
    assert not run_until([sys.executable, "-c", "import time; time.sleep(60)"], 0.2)
    with pytest.raises(LikenessError, match="exit code 3: no"):
        run_until([sys.executable, "-c", "import sys; print('no'); sys.exit(3)"], 60)


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="kills=0"):
        ResumeCheckOptions(kills=0)


@pytest.mark.slow
def test_clip_killed_twice_is_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(ResumeCheckOptions(seconds=40, kills=2, dst=str(tmp_path / "check.md")))
    assert "**0 of the decoded frames differ**, 0 segments are left" in (tmp_path / "check.md").read_text()
    assert Fraction(capsys.readouterr().out.split()[0]) == 400
