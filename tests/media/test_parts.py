"""A part of a clip: the right frames, and the sound still in step with them."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from likeness.errors import InputError
from likeness.media.gif import GifReader
from likeness.media.video import VideoReader, VideoWriter
from likeness.types import Part

RATE = 10
COUNT = 60


def numbered(count: int) -> list[np.ndarray]:
    """Frames that tell their number by their grey."""
    return [np.full((48, 64, 3), 20 + 3 * i, np.uint8) for i in range(count)]


def numbers(frames) -> list[int]:
    return [round((float(f.pixels.mean()) - 20) / 3) for f in frames]


@pytest.fixture
def clip(make_video):
    """Six seconds with sound, ten frames a second, a key frame every 25, the first frame at half a second."""
    ticks = [300 + 60 * i for i in range(COUNT)]
    options = {"qp": "0", "g": "25", "bf": "2"}
    return make_video("clip.mp4", numbered(COUNT), ticks, options=options, sound=(6.0, 0.5))


PARTS = {
    "from the beginning": (Part(Fraction(0), Fraction(1)), range(0, 10)),
    "on a key frame": (Part(Fraction(5, 2), Fraction(3)), range(25, 30)),
    "between key frames": (Part(Fraction("3.31"), Fraction("3.75")), range(34, 38)),
    "to the end": (Part(Fraction("5.5")), range(55, 60)),
    "longer than the clip": (Part(Fraction(5), Fraction(100)), range(50, 60)),
    "all": (Part(), range(0, 60)),
}


@pytest.mark.parametrize("case", PARTS)
def test_the_frames_that_begin_within_it(clip, case):
    part, expected = PARTS[case]
    with VideoReader(clip, part) as reader:
        frames = list(reader)
        assert numbers(frames) == list(expected)
        assert [f.index for f in frames] == list(range(len(frames)))
        assert frames[0].time == Fraction(1, 2) + Fraction(expected[0], RATE)
        assert {f.duration for f in frames[:-1]} <= {Fraction(1, RATE)}
        assert reader.info.frames is None
        assert not reader.notes


def test_the_same_without_a_seek(clip, monkeypatch):
    """Containers that land too late are read from their beginning."""
    part, expected = PARTS["between key frames"]
    decoded = VideoReader._decoded

    def late(self, seek):
        frames = decoded(self, None)
        for _ in range(50 if seek is not None else 0):
            next(frames)
        return frames

    monkeypatch.setattr(VideoReader, "_decoded", late)
    with VideoReader(clip, part) as reader:
        assert numbers(reader) == list(expected)


def sound_of(path) -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        return [(p.pts * p.time_base, bytes(p)) for p in container.demux(stream) if p.size]


@pytest.mark.parametrize("case", ["from the beginning", "between key frames", "to the end"])
def test_written_it_begins_at_zero_with_its_own_sound(clip, tmp_path, case):
    part, expected = PARTS[case]
    out = tmp_path / "part.mp4"
    with VideoReader(clip, part) as reader, VideoWriter(out, reader, 64, 48) as writer:
        for frame in reader:
            writer.write(frame)
    with VideoReader(out) as made:
        frames = list(made)
    assert [f.time for f in frames] == [Fraction(i, RATE) for i in range(len(expected))]
    assert np.abs(np.array(numbers(frames)) - expected).max() <= 1
    first = Fraction(1, 2) + Fraction(expected[0], RATE)
    end = None if part.end is None else Fraction(1, 2) + part.end
    wanted = [(t - first, data) for t, data in sound_of(clip) if t >= first and (end is None or t < end)]
    found = sound_of(out)
    assert [data for _, data in found] == [data for _, data in wanted]
    assert len(wanted) > 5
    assert max(abs(a[0] - b[0]) for a, b in zip(found, wanted, strict=True)) < Fraction(1, 1000)


def test_a_start_beyond_the_end_is_one_clear_line(clip):
    with pytest.raises(InputError, match=r"s long, start=9 lies beyond"):
        VideoReader(clip, Part(Fraction(9)))


WRONG = {"negative": (-1, None), "empty": (2, 2), "backwards": (3, 1)}


@pytest.mark.parametrize("case", WRONG)
def test_parts_that_are_none(case):
    start, end = WRONG[case]
    with pytest.raises(InputError, match="0 <= start < end"):
        Part(Fraction(start), None if end is None else Fraction(end))


def test_gif_parts(tmp_path):
    pictures = [Image.fromarray(f) for f in numbered(8)]
    file = tmp_path / "a.gif"
    pictures[0].save(file, save_all=True, append_images=pictures[1:], duration=[100, 200, 100, 300, 100, 100, 100, 50])
    # Frames begin at 0, .1, .3, .4, .7, .8, .9, 1.0 seconds.
    reader = GifReader(file, Part(Fraction("0.3"), Fraction("0.8")))
    frames = list(reader)
    assert numbers(frames) == [2, 3, 4]
    assert [f.time for f in frames] == [Fraction(3, 10), Fraction(4, 10), Fraction(7, 10)]
    assert [f.index for f in frames] == [0, 1, 2]
    assert (reader.info.frames, reader.info.duration) == (3, Fraction(1, 2))
    assert list(GifReader(file, Part(Fraction(5)))) == []
