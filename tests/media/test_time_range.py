"""A time range of a clip: the right frames, and the sound in step with them."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from likeness.errors import InputError
from likeness.media.gif import GifReader
from likeness.media.video_reader import VideoReader
from likeness.media.video_writer import VideoWriter
from likeness.types import TimeRange

RATE = 10
COUNT = 60


def numbered(count: int) -> list[np.ndarray]:
    """Frames whose grey level is their number."""
    return [np.full((48, 64, 3), 20 + 3 * i, np.uint8) for i in range(count)]


def numbers(frames) -> list[int]:
    return [round((float(f.pixels.mean()) - 20) / 3) for f in frames]


@pytest.fixture
def clip(make_video):
    """Six seconds with sound, ten frames a second, a key frame every 25, the first frame at half a second."""
    ticks = [300 + 60 * i for i in range(COUNT)]
    options = {"qp": "0", "g": "25", "bf": "2"}
    return make_video("clip.mp4", numbered(COUNT), ticks, options=options, sound=(6.0, 0.5))


RANGES = {
    "from the beginning": (TimeRange(Fraction(0), Fraction(1)), range(0, 10)),
    "on a key frame": (TimeRange(Fraction(5, 2), Fraction(3)), range(25, 30)),
    "between key frames": (TimeRange(Fraction("3.31"), Fraction("3.75")), range(34, 38)),
    "to the end": (TimeRange(Fraction("5.5")), range(55, 60)),
    "longer than the clip": (TimeRange(Fraction(5), Fraction(100)), range(50, 60)),
    "all": (TimeRange(), range(0, 60)),
}


@pytest.mark.parametrize("case", RANGES)
def test_the_frames_that_begin_within_the_range_are_read(clip, case):
    time_range, expected = RANGES[case]
    with VideoReader(clip, time_range) as reader:
        frames = list(reader)
        assert numbers(frames) == list(expected)
        assert [f.index for f in frames] == list(range(len(frames)))
        assert frames[0].time == Fraction(1, 2) + Fraction(expected[0], RATE)
        assert {f.duration for f in frames[:-1]} <= {Fraction(1, RATE)}
        assert reader.info.frames is None
        assert not reader.notes


def test_the_right_frames_are_read_where_a_seek_lands_too_late(clip, monkeypatch):
    """Such containers are read from the beginning."""
    time_range, expected = RANGES["between key frames"]
    decoded = VideoReader._decoded

    def late(self, seek):
        frames = decoded(self, None)
        for _ in range(50 if seek is not None else 0):
            next(frames)
        return frames

    monkeypatch.setattr(VideoReader, "_decoded", late)
    with VideoReader(clip, time_range) as reader:
        assert numbers(reader) == list(expected)


def sound_of(path) -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        return [(p.pts * p.time_base, bytes(p)) for p in container.demux(stream) if p.size]


@pytest.mark.parametrize("case", ["from the beginning", "between key frames", "to the end"])
def test_a_written_range_begins_at_zero_with_its_sound(clip, tmp_path, case):
    time_range, expected = RANGES[case]
    out = tmp_path / "range.mp4"
    with VideoReader(clip, time_range) as reader, VideoWriter(out, reader, 64, 48) as writer:
        for frame in reader:
            writer.write(frame)
    with VideoReader(out) as result:
        frames = list(result)
    assert [f.time for f in frames] == [Fraction(i, RATE) for i in range(len(expected))]
    assert np.abs(np.array(numbers(frames)) - expected).max() <= 1
    first = Fraction(1, 2) + Fraction(expected[0], RATE)
    end = None if time_range.end is None else Fraction(1, 2) + time_range.end
    source_sound = [(t - first, data) for t, data in sound_of(clip) if t >= first and (end is None or t < end)]
    written_sound = sound_of(out)
    assert [data for _, data in written_sound] == [data for _, data in source_sound]
    assert len(source_sound) > 5
    assert max(abs(a[0] - b[0]) for a, b in zip(written_sound, source_sound, strict=True)) < Fraction(1, 1000)


def test_a_start_beyond_the_end_is_refused(clip):
    with pytest.raises(InputError, match=r"s long, start=9 lies beyond"):
        VideoReader(clip, TimeRange(Fraction(9)))


WRONG = {"negative": (-1, None), "empty": (2, 2), "backwards": (3, 1)}


@pytest.mark.parametrize("case", WRONG)
def test_an_impossible_range_is_refused(case):
    start, end = WRONG[case]
    with pytest.raises(InputError, match="0 <= start < end"):
        TimeRange(Fraction(start), None if end is None else Fraction(end))


def test_the_frames_of_a_gif_that_begin_within_the_range_are_read(tmp_path):
    pictures = [Image.fromarray(f) for f in numbered(8)]
    file = tmp_path / "a.gif"
    pictures[0].save(file, save_all=True, append_images=pictures[1:], duration=[100, 200, 100, 300, 100, 100, 100, 50])
    # Frames begin at 0, 0.1, 0.3, 0.4, 0.7, 0.8, 0.9 and 1.0 s.
    reader = GifReader(file, TimeRange(Fraction("0.3"), Fraction("0.8")))
    frames = list(reader)
    assert numbers(frames) == [2, 3, 4]
    assert [f.time for f in frames] == [Fraction(3, 10), Fraction(4, 10), Fraction(7, 10)]
    assert [f.index for f in frames] == [0, 1, 2]
    assert (reader.info.frames, reader.info.duration) == (3, Fraction(1, 2))
    assert list(GifReader(file, TimeRange(Fraction(5)))) == []
