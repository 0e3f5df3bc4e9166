"""A killed run goes on where its last segment ended, and the result is the same."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from likeness.errors import ConfigError, InputError
from likeness.media.segments import SEGMENT_OPTIONS, SegmentEncoder
from likeness.media.video_reader import VideoReader
from likeness.media.video_writer import VideoWriter
from likeness.pipeline import resume
from likeness.pipeline.config import from_overrides
from likeness.pipeline.restorer import Restorer
from likeness.types import Frame

COUNT = 20
SEGMENT = 4  # frames


@pytest.fixture(scope="module", autouse=True)
def _short_segments():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resume, "SEGMENT_SECONDS", Fraction(SEGMENT, 25))
        yield


@pytest.fixture(scope="module")
def clip(scene, write_clip, tmp_path_factory):
    pictures = [np.roll(scene, i, 1) for i in range(COUNT)]
    return write_clip(tmp_path_factory.mktemp("clip") / "a.mp4", pictures, seconds=0.8)


@pytest.fixture(scope="module")
def make_restorer(face_at, make_models):
    """A function that makes one with known networks and `resume`."""

    def make(*options):
        restorer = Restorer(
            from_overrides(["resume=true", "video.blend.weight=0.4", "video.smooth.cutoff=2", *options])
        )
        restorer._models = make_models(face_at(150, 110, 90))
        return restorer

    return make


@pytest.fixture(scope="module")
def whole(clip, make_restorer, tmp_path_factory):
    """The result of a run that nothing stopped."""
    return make_restorer().file(clip, tmp_path_factory.mktemp("whole"))


def decoded(path):
    return [(f.time, f.pixels) for f in VideoReader(path)]


def sound(path):
    with av.open(str(path)) as opened:
        return [(p.pts, bytes(p)) for p in opened.demux(audio=0) if p.size]


def without_times(faces):
    return [{name: value for name, value in face.items() if name != "milliseconds"} for face in faces]


def log_of(result):
    lines = [json.loads(line) for line in result.outputs["frames"].read_text().splitlines()]
    return [line | {"faces": without_times(line["faces"])} for line in lines]


def cards_of(result):
    return np.asarray(Image.open(result.outputs["cards"]))[:, : 3 * 264]  # without the text, which holds milliseconds


def killed_at(frame, calls=None):
    def progress(done, total, faces):
        if calls is not None:
            calls.append((done, total))
        if done == frame:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("frame", [2, 4, 5, 11, 19, 20])
def test_a_killed_run_goes_on_and_gives_the_same(clip, whole, make_restorer, tmp_path, frame):
    with pytest.raises(KeyboardInterrupt):
        make_restorer().file(clip, tmp_path / "parts", progress=killed_at(frame))
    assert not (tmp_path / "parts" / "a.mp4").exists()
    segments = sorted((tmp_path / "parts" / ".a.mp4.segments").glob("*.segment"))
    assert len(segments) == frame // SEGMENT
    again, calls = make_restorer(), []
    result = again.file(clip, tmp_path / "parts", progress=killed_at(None, calls))
    expected = range(SEGMENT * len(segments) + 1, COUNT + 1)
    assert sum(again.models.experts["expert_f"].seen) == len(expected)
    assert calls == [(done, COUNT) for done in expected]
    one, two = (decoded(r.outputs["restored"]) for r in (whole, result))
    assert [t for t, _ in one] == [t for t, _ in two] == [f.time for f in VideoReader(clip)]
    for (_, a), (_, b) in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    assert sound(whole.outputs["restored"]) == sound(result.outputs["restored"]) == sound(clip)
    assert log_of(whole) == log_of(result)
    assert len(log_of(whole)) == COUNT
    assert without_times(whole.report["faces"]) == without_times(result.report["faces"])
    np.testing.assert_array_equal(cards_of(whole), cards_of(result))
    assert whole.report["notes"] == []
    assert len(result.report["notes"]) == (len(segments) > 0)
    assert not list((tmp_path / "parts").glob(".*"))  # no segment is left


def test_a_run_killed_twice_goes_on_from_the_last_segment_of_both(clip, whole, make_restorer, tmp_path):
    for frame in (6, 14):
        with pytest.raises(KeyboardInterrupt):
            make_restorer().file(clip, tmp_path / "parts", progress=killed_at(frame))
    result = make_restorer().file(clip, tmp_path / "parts")
    assert result.report["notes"] == ["resumed after 12 frames, where the last finished segment ended"]
    for (_, a), (_, b) in zip(*(decoded(r.outputs["restored"]) for r in (whole, result)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_result_is_as_good_as_without_segments(clip, whole, make_restorer, tmp_path):
    one = decoded(make_restorer("resume=false").file(clip, tmp_path / "one").outputs["restored"])
    for (t, a), (u, b) in zip(one, decoded(whole.outputs["restored"]), strict=True):
        assert t == u
        assert np.abs(a.astype(float) - b).mean() < 2.5  # two encodings of one picture


@pytest.mark.parametrize("options", [["strength=0.5"], ["upscale=2"]])
def test_a_run_with_other_options_starts_over(options, clip, make_restorer, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        make_restorer().file(clip, tmp_path / "out", progress=killed_at(15))
    other = make_restorer(*options)
    other.file(clip, tmp_path / "out")
    assert sum(other.models.experts["expert_f"].seen) == COUNT


def test_another_clip_of_the_same_name_starts_over(clip, make_restorer, tmp_path):
    clip = Path(shutil.copy(clip, tmp_path))
    with pytest.raises(KeyboardInterrupt):
        make_restorer().file(clip, tmp_path / "out", progress=killed_at(15))
    clip.write_bytes(clip.read_bytes() + bytes(8))
    other = make_restorer()
    other.file(clip, tmp_path / "out")
    assert sum(other.models.experts["expert_f"].seen) == COUNT


def test_odd_sizes_and_a_time_range_keep_their_times(make_restorer, scene, make_clip, tmp_path):
    clip = make_clip("b.mp4", [np.roll(scene, i, 1)[:, :300] for i in range(COUNT)], seconds=0.8)
    result = make_restorer("start=0.2", "end=0.6").file(clip, tmp_path / "out")
    times = [t for t, _ in decoded(result.outputs["restored"])]
    assert times == [f.time - VideoReader(clip).source.begin for f in VideoReader(clip)][: len(times)]
    assert len(times) == 10


def test_a_comparison_and_a_reference_are_refused(clip, make_restorer, tmp_path):
    with pytest.raises(ConfigError, match="resume: got true"):
        make_restorer("compare=yes")
    with pytest.raises(ConfigError, match="with a reference"):
        make_restorer().file(clip, tmp_path / "out", reference=clip)
    assert not (tmp_path / "out").exists()


def test_joined_segments_are_one_stream(clip, tmp_path):
    """Every segment begins with a key frame, times follow one another, and the frames are those encoded."""
    reader = VideoReader(clip)
    frames = list(reader)
    height, width = frames[0].pixels.shape[:2]
    segments = []
    for start in range(0, COUNT, 8):
        encoder = SegmentEncoder(reader.source, ".mp4", width, height)
        for frame in frames[start : start + 8]:
            encoder.write(frame)
        segments.append(encoder.finish())
    for packets in segments:
        assert packets[0].key
        assert [p.pts for p in packets] == sorted(p.pts for p in packets)
    with VideoWriter(tmp_path / "joined.mp4", reader, width, height, SEGMENT_OPTIONS) as writer:
        writer.write_encoded(p for packets in segments for p in packets)
    joined = decoded(tmp_path / "joined.mp4")
    assert [t for t, _ in joined] == [f.time for f in frames]
    for (_, pixels), frame in zip(joined, frames, strict=True):
        assert np.abs(pixels.astype(float) - frame.pixels).mean() < 2.5


def test_a_segment_refuses_frames_out_of_order(clip):
    reader = VideoReader(clip)
    frames = list(reader)
    encoder = SegmentEncoder(reader.source, ".mp4", reader.info.width, reader.info.height)
    encoder.write(frames[3])
    with pytest.raises(InputError, match="write in order"):
        encoder.write(Frame(frames[2].pixels, 2, frames[2].time))
