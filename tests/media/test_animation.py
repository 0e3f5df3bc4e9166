"""Animated WebP and PNG: what an independent decoder finds in what was written."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from likeness.errors import InputError, OutputError
from likeness.media.animation import AnimationWriter
from likeness.media.gif import GifReader
from likeness.types import Frame, MediaInfo

DELAYS = [40, 100, 70, 500, 30]


def frames(portrait, alpha: bool) -> list[Frame]:
    pictures = []
    for i, delay in enumerate(DELAYS):
        pixels = np.ascontiguousarray(np.roll(portrait, 7 * i, 1))
        mask = np.full(pixels.shape[:2], 255, np.uint8)
        mask[: 10 * i] = 90
        pictures.append(Frame(pixels, i, Fraction(0), Fraction(delay, 1000), mask if alpha else None))
    return pictures


def info(loop: int | None) -> MediaInfo:
    return MediaInfo("gif", 80, 96, loop=loop)


def write(path, pictures, loop=0):
    with AnimationWriter(path, info(loop)) as writer:
        for frame in pictures:
            writer.write(frame)
    return path


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("name", ["a.webp", "a.png", "a.apng"])
def test_pillow_reads_the_frames_delays_alpha_and_loop_count_that_were_written(tmp_path, portrait, name, alpha):
    pictures = frames(portrait, alpha)
    with Image.open(write(tmp_path / name, pictures, 3)) as image:
        assert image.n_frames == len(DELAYS)
        assert image.info["loop"] == 3
        for index, frame in enumerate(pictures):
            image.seek(index)
            image.load()
            assert round(image.info["duration"]) == DELAYS[index]
            rgba = np.asarray(image.convert("RGBA")).astype(int)
            seen = np.full(frame.pixels.shape[:2], 255) if frame.alpha is None else frame.alpha
            assert np.abs(rgba[..., 3] - seen).max() == 0
            error = np.abs(rgba[..., :3] - frame.pixels)[seen == 255]
            assert error.mean() < (3 if name.endswith("webp") else 0.001)


@pytest.mark.parametrize("name", ["a.webp", "a.png"])
def test_delays_and_loop_count_survive_reading_and_writing(tmp_path, portrait, name):
    reader = GifReader(write(tmp_path / name, frames(portrait, False), 0))
    assert reader.info.loop == 0
    assert [f.duration for f in reader] == [Fraction(d, 1000) for d in DELAYS]
    again = write(tmp_path / f"again{name}", list(reader), reader.info.loop)
    assert [f.duration for f in GifReader(again)] == [Fraction(d, 1000) for d in DELAYS]


def test_rounding_errors_of_delays_do_not_add_up(tmp_path, portrait):
    thirtieths = [Frame(portrait, i, Fraction(0), Fraction(1, 30)) for i in range(30)]
    total = sum(f.duration for f in GifReader(write(tmp_path / "a.png", thirtieths)))
    assert total == 1


def test_frames_without_a_delay_get_one_tick(tmp_path, portrait):
    pictures = [Frame(np.roll(portrait, i, 1), i, Fraction(0), Fraction(d, 1000)) for i, d in enumerate([0, 0, 50])]
    assert [f.duration for f in GifReader(write(tmp_path / "a.png", pictures))] == [
        Fraction(1, 1000), Fraction(1, 1000), Fraction(48, 1000)
    ]  # fmt: skip


WRONG = {
    "another size": (Frame(np.zeros((9, 9, 3), np.uint8), 1, duration=Fraction(1)), InputError, "one size"),
    "no duration": (Frame(np.zeros((96, 80, 3), np.uint8), 1), InputError, "no duration"),
    "deep": (Frame(np.zeros((96, 80, 3), np.uint16), 1, duration=Fraction(1)), InputError, "uint16"),
}


@pytest.mark.parametrize("case", WRONG)
def test_unfit_frames_are_refused(tmp_path, portrait, case):
    frame, kind, message = WRONG[case]
    with pytest.raises(kind, match=message):
        write(tmp_path / "a.webp", [Frame(portrait, 0, duration=Fraction(1)), frame])


def test_no_frames_and_other_suffixes_are_refused(tmp_path):
    with pytest.raises(OutputError, match="no frame was written"):
        write(tmp_path / "a.png", [])
    with pytest.raises(OutputError, match=r"\.gif, \.webp or \.png"):
        AnimationWriter(tmp_path / "a.gif", info(0))


def test_writing_leaves_the_frame_unchanged(tmp_path, portrait):
    frame = frames(portrait, True)[2]
    pixels, alpha = frame.pixels.copy(), frame.alpha.copy()
    write(tmp_path / "a.webp", [frame])
    assert np.array_equal(frame.pixels, pixels)
    assert np.array_equal(frame.alpha, alpha)
