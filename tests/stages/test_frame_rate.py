"""Interpolation between frames, and when its pictures are shown."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import cv2
import numpy as np
import pytest

from likeness.errors import ConfigError
from likeness.ops.splat import splat
from likeness.stages.temporal.frame_rate import FrameRate, FrameRateConverter
from likeness.stages.temporal.interpolation import INTERPOLATORS
from likeness.types import Frame


def converted(frames, text, interpolator="average"):
    converter = FrameRateConverter(FrameRate.parse(text), INTERPOLATORS[interpolator].load(None), cut=28)
    shown = [picture for frame in frames for picture in converter.push(frame)]
    return [*shown, *converter.finish()], converter


def grey_frames(times, duration=None, level=lambda i: 10 * i):
    """Frames whose grey level is 10 times their number."""
    frames = [Frame(np.full((8, 8, 3), level(i), np.uint8), i, Fraction(t), None) for i, t in enumerate(times)]
    last = frames[-1]
    return [*frames[:-1], Frame(last.pixels, last.index, last.time, duration)]


def shown(frames):
    return [(picture.time, int(picture.pixels[0, 0, 0])) for picture in frames]


CASES = {
    "doubled": (
        "2x", ["0", "1/10", "1/5"], [("0", 0), ("1/20", 5), ("1/10", 10), ("3/20", 15), ("1/5", 20), ("1/4", 20)],
    ),
    "a variable rate keeps its times": (
        "2x", ["0", "1/10", "1/5", "11/50"],
        [("0", 0), ("1/20", 5), ("1/10", 10), ("3/20", 15), ("1/5", 20), ("21/100", 25), ("11/50", 30), ("27/100", 30)],
    ),
    "a variable rate becomes a constant one": (
        "20", ["0", "1/10", "6/50"], [("0", 0), ("1/20", 5), ("1/10", 10), ("3/20", 20), ("1/5", 20)],
    ),
    "ten become fifteen": (
        "15", ["0", "1/10", "1/5"], [("0", 0), ("1/15", 7), ("2/15", 13), ("1/5", 20), ("4/15", 20)],
    ),
    "fewer frames": ("5", ["0", "1/10", "1/5", "3/10"], [("0", 0), ("1/5", 20)]),
    "a clip that begins late": ("2x", ["3", "31/10"], [("3", 0), ("61/20", 5), ("31/10", 10), ("63/20", 10)]),
    "a still stays": ("10", ["0", "3/10"], [("0", 0), ("1/10", 0), ("1/5", 0), ("3/10", 10)]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_pictures_and_their_times(case):
    text, times, expected = CASES[case]
    end = Fraction(1, 10)
    frames, converter = converted(grey_frames(times, duration=end), text)
    assert shown(frames) == [(Fraction(time), level) for time, level in expected]
    assert all(a.time + a.duration == b.time for a, b in pairwise(frames))
    assert [frame.index for frame in frames] == list(range(converter.frames))
    assert converter.interpolated == sum(level % 10 > 0 for _, level in expected)


@pytest.mark.parametrize("interpolator", INTERPOLATORS.names)
def test_no_picture_mixes_two_shots(interpolator, photo):
    """The earlier shot stays until the later one begins; without a cut a picture lies between."""
    small = cv2.resize(photo, (96, 96), interpolation=cv2.INTER_AREA)
    for other, cut in ((255 - small, True), (np.roll(small, 2, 1), False)):
        before, after = (Frame(x, i, Fraction(i, 25)) for i, x in enumerate((small, other)))
        frames, _ = converted([before, after], "2x", interpolator)
        assert np.array_equal(frames[1].pixels, small) is cut
        assert np.array_equal(frames[2].pixels, other)


def moving(photo, steps, dtype=np.uint8):
    """A window that pans over a photograph by 6 pixels a step, (160, 200, 3)."""
    scale = 257 if dtype == np.uint16 else 1
    return [photo[100:260, 100 + 6 * i : 300 + 6 * i].astype(dtype) * dtype(scale) for i in range(steps)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_splatting_finds_the_true_picture_in_between(photo, dtype):
    """A pan is known at any phase; a mean shows everything twice."""
    first, second, third, fourth = moving(photo, 4, dtype)
    top, kept = np.iinfo(dtype).max, first.copy()

    def error(name, truth, phase):
        made = INTERPOLATORS[name].load(None)(first, fourth)(phase)
        assert made.dtype == dtype
        inner = np.s_[:, 20:-20]  # what enters or leaves the picture is unknown
        return np.abs(made[inner].astype(float) - truth[inner]).mean() / top * 255

    for truth, phase in ((second, 1 / 3), (third, 2 / 3)):
        assert error("splat", truth, phase) < 2
        assert error("average", truth, phase) > 8
    np.testing.assert_array_equal(first, kept)


def test_transparency_is_interpolated_as_well():
    frames = [
        Frame(np.full((8, 8, 3), 40 + 20 * i, np.uint8), i, Fraction(i, 25), None, np.full((8, 8), 100 * i, np.uint8))
        for i in range(2)
    ]
    pictures, _ = converted(frames, "2x")
    assert [int(p.alpha[0, 0]) for p in pictures] == [0, 50, 100, 100]


@pytest.mark.parametrize("text", ["0", "-5", "241", "1x", "9x", "fast", "60/0", "", "1e2"])
def test_other_rates_are_refused(text):
    with pytest.raises(ConfigError, match=r"video\.fps: got .*expected frames a second up to 240"):
        FrameRate.parse(text)


@pytest.mark.parametrize(
    ("text", "tick", "expected"),
    [
        ("60", "1/90000", "1/90000"),
        ("60", "1/12800", "1/38400"),
        ("2x", "1/30000", "1/60000"),
        ("60", "1001/30000", "1/30000"),
    ],
)
def test_a_clock_that_shows_all_times(text, tick, expected):
    rate = FrameRate.parse(text)
    clock = rate.tick(Fraction(tick))
    assert clock == Fraction(expected)
    for number in range(5):
        for time, _ in rate.slots(Fraction(0), number * Fraction(tick), (number + 1) * Fraction(tick)):
            assert (time / clock).denominator == 1


def test_splat_sums_what_lands_in_a_pixel():
    """One pixel moves by half a pixel, another onto its neighbour, a third out of the picture."""
    values = np.array([[[1.0], [10.0], [100.0], [1000.0]]], np.float32)
    motion = np.array([[[0.5, 0], [2, 0], [0, 0], [1, 0]]], np.float32)
    weight = np.array([[1, 1, 3, 1]], np.float32)
    total, weights = splat(values, motion, weight)
    np.testing.assert_allclose(total[0, :, 0], [0.5, 0.5, 300, 10])
    np.testing.assert_allclose(weights[0], [0.5, 0.5, 3, 1])
