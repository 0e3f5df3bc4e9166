"""The figures of interpolated pictures, on pictures whose error is known."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.frame_rate.frame_rate import BEST, FrameRateOptions, Scores, psnr, table
from likeness.errors import ConfigError


def test_psnr_of_a_known_error() -> None:
    truth = np.full((4, 4, 3), 100, np.uint8)
    assert psnr(truth + np.uint8(5), truth) == pytest.approx(10 * np.log10(255**2 / 25))
    assert psnr(truth, truth) == BEST


def test_means_and_gains_are_those_of_the_clips() -> None:
    clips = [
        Scores("a", 10, {"repeat": 20, "splat": 30, "average": 26}, {"repeat": 0, "splat": 100, "average": 5}),
        Scores("b", 30, {"repeat": 30, "splat": 36, "average": 34}, {"repeat": 0, "splat": 200, "average": 5}),
    ]
    lines = table(clips)
    assert "| **mean of clips** | 40 | **25.00** | **33.00** | **30.00** |" in lines
    assert lines[-1] == "- splat: +3.00 dB above averaging, +8.00 dB above repeating, 150 ms a picture"


@pytest.mark.parametrize("wrong", [{"gap": 3}, {"gap": 0}, {"side": 10}, {"frames": -1}], ids=str)
def test_options_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        FrameRateOptions(**wrong)
