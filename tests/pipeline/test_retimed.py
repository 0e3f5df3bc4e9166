"""`video.fps` through the whole pipeline: times, duration, sound, notes, and clips in which nothing is restored."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from likeness.errors import ConfigError
from likeness.media.video_reader import VideoReader
from likeness.pipeline.config import from_overrides
from likeness.pipeline.restorer import Restorer


@pytest.fixture
def restore(tmp_path, make_models, face_at):
    """A function that restores a file with known networks."""

    def run(source, *options, faces=True):
        restorer = Restorer(from_overrides(["compare=no", *options]))
        restorer._models = make_models(*([face_at(150, 110, 90)] if faces else []))
        return restorer.file(source, tmp_path / "out")

    return run


def sound_of(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


@pytest.fixture
def panning(scene, make_clip):
    """Ten frames at 25 a second that pan by two pixels, with a cut before the sixth, and sound."""
    pictures = [np.ascontiguousarray(np.roll(scene, 2 * i, 1)) for i in range(5)]
    return make_clip("a.mp4", [*pictures, *(255 - picture for picture in pictures)])


@pytest.mark.parametrize("faces", [True, False], ids=["restored", "nothing to restore"])
@pytest.mark.parametrize(("fps", "count", "made"), [("2x", 20, 8), ("60", 24, 18)])
def test_the_rate_is_as_asked_and_length_and_sound_stay(fps, count, made, faces, panning, restore):
    result = restore(panning, f"video.fps={fps}", faces=faces)
    with VideoReader(result.outputs["restored"]) as reader:
        frames = list(reader)
    step = Fraction(2, 5) / count
    assert [frame.time for frame in frames] == [i * step for i in range(count)]
    assert frames[-1].duration == step
    assert sound_of(result.outputs["restored"]) == sound_of(panning)
    assert result.report["totals"]["frames"] == 10
    assert f"frame rate: {count * 5 // 2} frames a second, {made} of {count} interpolated" in result.report["notes"]


def test_no_picture_lies_between_two_shots(panning, restore):
    """Each frame is dark or light, none a mixture, as the source's are."""
    with VideoReader(restore(panning, "video.fps=4x", faces=False).outputs["restored"]) as reader:
        means = [frame.pixels.mean() for frame in reader]
    assert np.ptp(means[:20]) < 2
    assert np.ptp(means[20:]) < 2
    assert abs(means[19] - means[20]) > 10


def test_a_part_begins_at_its_start(panning, restore):
    with VideoReader(restore(panning, "video.fps=2x", "start=0.2", "end=0.3").outputs["restored"]) as reader:
        assert [frame.time for frame in reader] == [i * Fraction(1, 50) for i in range(len(list(reader)))]


def test_animations_keep_their_times_and_say_so(scene, make_gif, restore):
    source = make_gif("a.gif", [np.roll(scene, i, 1) for i in range(3)], [50] * 3)
    result = restore(source, "video.fps=2x")
    assert result.report["totals"]["frames"] == 3
    assert "video.fps=2x is for videos: the frames of an animation keep their times" in result.report["notes"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["video.fps=fast"], "video.fps: got 'fast'"),
        (["video.interpolator=rife"], "video.interpolator: got 'rife', expected splat, average"),
        (["video.fps=60", "resume=true"], "resume: got true with video.fps=60"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        from_overrides(options)


def test_every_preset_leaves_the_frame_rate():
    assert {from_overrides([f"preset={name}"]).video.fps for name in ("speed", "balanced", "quality")} == {""}
