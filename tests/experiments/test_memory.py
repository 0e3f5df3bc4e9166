"""Memory of processes of known size, and the faces of the drawn clip."""

from __future__ import annotations

import sys
from pathlib import Path

import av
import numpy as np
import pytest

from experiments.memory.memory import Curve, MemoryOptions, sample_memory, scenes
from likeness.errors import ConfigError, LikenessError
from likeness.tasks.clips import write_clip


def test_slope_is_fitted_to_the_later_part() -> None:
    times = np.arange(0, 100, 0.5)
    sizes = np.where(times < 20, 10 * times, 500 + 0.1 * times)
    curve = Curve(tuple(times), tuple(sizes))
    assert curve.slope == pytest.approx(6.0)  # 0.1 MB a second
    assert curve.peak == pytest.approx(500 + 0.1 * 99.5)


def test_memory_of_the_process_is_sampled() -> None:
    held = "import time; kept = b'x' * (200 << 20); time.sleep(1)"
    assert 200 < sample_memory([sys.executable, "-c", held], 0.05).peak < 260
    assert sample_memory([sys.executable, "-c", "import time; time.sleep(.5)"], 0.05).peak < 60


def test_failing_command_is_reported() -> None:
    with pytest.raises(LikenessError, match="exit code 3: no such thing"):
        sample_memory([sys.executable, "-c", "import sys; print('no such thing'); sys.exit(3)"], 0.05)


def test_fraction_of_frames_with_faces_is_as_asked() -> None:
    options = MemoryOptions(seconds=25, rate=2, width=64, height=48, faces=0.3)
    plain = [bool((frame == 128).all()) for frame in scenes(options)]
    assert plain == (([False] * 6 + [True] * 14) * 3)[:50]


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"faces": 1.5}, {"every": 0}], ids=str)
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=str(next(iter(wrong)))):
        MemoryOptions(**wrong)  # type: ignore[arg-type]


def test_sound_is_as_long_as_the_frames(tmp_path: Path) -> None:
    file = tmp_path / "made.mp4"
    options = MemoryOptions(seconds=3, rate=10, width=64, height=48)
    write_clip(file, scenes(options), 20, 10)
    with av.open(str(file)) as container:
        assert container.streams.video[0].frames == 30
        sound = container.streams.audio[0]
        assert float(sound.duration * sound.time_base) == pytest.approx(3, abs=0.05)
