"""A video in parts is nearly what one run gives, with its tracks and totals."""

from __future__ import annotations

import json
from fractions import Fraction

import av
import numpy as np
import pytest

from likeness.errors import InputError
from likeness.media.naming import OutputNames
from likeness.media.segments import SegmentEncoder
from likeness.media.video_reader import VideoReader
from likeness.pipeline import parts, resume
from likeness.pipeline.config import from_overrides
from likeness.pipeline.parts import JoinJob, Part, PartJob, plan_parts, same_tracks
from likeness.pipeline.restorer import Restorer

COUNT, JOINT = 62, 1  # frames at 25 a second; second

# All that is smoothed settles within a few frames.
QUICK = ["video.blend.weight=0.4", "video.smooth.cutoff=10", "video.ramp=5", "video.reduce=1"]


@pytest.fixture(autouse=True)
def short_parts(monkeypatch):
    """Parts of a second and what is left, and one run that is encoded in the same segments."""
    monkeypatch.setattr(parts, "PART_SECONDS", Fraction(1))
    monkeypatch.setattr(parts, "WARM_UP_SECONDS", Fraction(3, 5))
    monkeypatch.setattr(resume, "SEGMENT_SECONDS", 1)


@pytest.fixture
def encoded(monkeypatch):
    """The pixels that reach the encoder, by time: its losses depend on the frames before."""
    pixels = {}
    write = SegmentEncoder.write

    def record(encoder, frame):
        pixels[frame.time] = frame.pixels
        write(encoder, frame)

    monkeypatch.setattr(SegmentEncoder, "write", record)
    return pixels


@pytest.fixture
def film(scene, make_clip):
    """A scene that moves in every frame: one that repeats the frame before would shift the rhythm of detections."""
    pictures = [np.ascontiguousarray(np.roll(scene, (0, 1, 3, 2)[i % 4], 1)) for i in range(COUNT)]
    return make_clip("film.mp4", pictures, seconds=COUNT / 25)


@pytest.fixture
def make_restorer(face_at, together, make_models):
    def make(*options):
        restorer = Restorer(from_overrides([*QUICK, *options]))
        restorer._models = make_models(together(face_at(120, 110, 90), face_at(230, 130, 80)))
        return restorer

    return make


def restore_in_parts(restorer, source, folder):
    names = OutputNames(source, folder / source.name)
    names.segments.mkdir(parents=True)
    for part in reversed(plan_parts(source, restorer.config)):  # in any order
        PartJob(restorer.models, restorer.config, names, part).restore_part()
    return JoinJob(restorer.models, restorer.config, names, "video").run()


def log_of(result):
    lines = [json.loads(line) for line in result.outputs["frames"].read_text().splitlines()]
    return [(line["frame"], line["time"], [face["track"] for face in line["faces"]]) for line in lines]


def sound_of(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def test_a_video_in_parts_is_nearly_what_one_run_gives(film, make_restorer, encoded, tmp_path):
    one = make_restorer("resume=true").file(film, tmp_path / "one")
    expected = dict(encoded)
    encoded.clear()
    many = restore_in_parts(make_restorer(), film, tmp_path / "many")
    assert sorted(encoded) == sorted(expected)
    difference = {time: np.abs(expected[time].astype(int) - encoded[time]) for time in expected}
    assert max(difference[time].max() for time in expected if time < JOINT) == 0
    later = [difference[time] for time in expected if time >= JOINT + Fraction(3, 5)]
    assert max(levels.max() for levels in later) <= 10  # what is left of tracking by optical flow
    assert max(levels.mean() for levels in later) < 0.1
    times = [frame.time for frame in VideoReader(many.outputs["restored"])]
    assert times == sorted(expected)
    assert sound_of(many.outputs["restored"]) == sound_of(film)
    assert log_of(one) == log_of(many)
    assert log_of(many)[-1] == (COUNT - 1, (COUNT - 1) / 25, [0, 1])
    assert many.summary == one.summary == "2 faces: 2 restored"
    assert many.report["notes"] == ["restored in 2 parts"]
    for face, other in zip(many.report["faces"], one.report["faces"], strict=True):
        same = ("track", "frames", "restored_frames", "route", "expert")
        assert [face[key] for key in same] == [other[key] for key in same]
        assert face["w"] == pytest.approx(other["w"], abs=0.2)
        assert face["identity_spread"] == pytest.approx(other["identity_spread"], abs=1e-3)
    totals, others = many.report["totals"], one.report["totals"]
    assert [totals[key] for key in ("frames", "faces", "restored", "errors")] == [
        others[key] for key in ("frames", "faces", "restored", "errors")
    ]
    assert list(many.outputs) == list(one.outputs)
    assert not list((tmp_path / "many").glob(".*"))


def test_the_warm_up_settles_the_state(film, make_restorer, encoded, tmp_path, monkeypatch):
    """Without it a face fades in again after each joint."""
    make_restorer("resume=true").file(film, tmp_path / "one")
    expected = dict(encoded)
    worst = []
    for seconds in (Fraction(3, 5), Fraction(0)):
        monkeypatch.setattr(parts, "WARM_UP_SECONDS", seconds)
        restore_in_parts(make_restorer(), film, tmp_path / str(float(seconds)))
        after = [time for time in expected if JOINT <= time < JOINT + Fraction(1, 5)]
        worst.append(max(np.square(expected[t].astype(float) - encoded[t]).mean() for t in after))
    assert worst[1] > 4 * worst[0]


def test_parts_begin_where_detections_fall(monkeypatch, film):
    monkeypatch.setattr(parts, "PART_SECONDS", Fraction(60))
    monkeypatch.setattr(parts, "WARM_UP_SECONDS", Fraction(2))
    monkeypatch.setattr(parts, "_frame_times", lambda path: [Fraction(i, 25) for i in range(5151)])
    assert plan_parts(film, from_overrides(["video.detect_every=4"])) == [
        Part(0, 0, Fraction(0), 0, Fraction(0), Fraction(60)),
        Part(1, 1500, Fraction(60), 1448, Fraction(1448, 25), Fraction(120)),
        Part(2, 3000, Fraction(120), 2948, Fraction(2948, 25), None),  # a rest of half a part is not cut off
    ]


@pytest.mark.parametrize(
    "word",
    ["start=1", "end=5", "preview=2", "resume=true", "video.fps=2x", "compare=yes", "best_frames=1", "faces.min=10"],
)
def test_what_one_run_must_write_is_not_cut(film, word):
    assert len(plan_parts(film, from_overrides([word]))) == (2 if word == "faces.min=10" else 1)


def test_a_part_without_frames_is_an_error(film, make_restorer, tmp_path):
    restorer = make_restorer()
    beyond = Part(1, 62, Fraction(62, 25), 60, Fraction(60, 25), None)
    with pytest.raises(InputError, match=r"no frame can be decoded from 2\.5 s on"):
        PartJob(restorer.models, restorer.config, OutputNames(film, tmp_path / "out.mp4"), beyond).restore_part()


def test_tracks_of_two_parts_are_the_same_where_they_overlap():
    def face(track, x):
        return {"track": track, "box": [x, 0.0, x + 10, 10.0]}

    here, there = [face(0, 0), face(1, 50), face(2, 90)], [face(7, 51), face(5, 1), face(6, 200)]
    assert same_tracks(here, there, 0.3) == {0: 5, 1: 7}
    assert same_tracks([], [face(0, 0)], 0.3) == same_tracks([face(0, 0)], [], 0.3) == {}
