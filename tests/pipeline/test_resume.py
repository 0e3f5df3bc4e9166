"""A killed run goes on where its last piece ended, and nobody can tell from the result."""

from __future__ import annotations

import json
from fractions import Fraction

import av
import numpy as np
import pytest

from likeness.errors import ConfigError, InputError
from likeness.media.segments import OPTIONS, SegmentEncoder
from likeness.media.video import VideoReader, VideoWriter
from likeness.pipeline import job as jobs
from likeness.pipeline.config import from_overrides
from likeness.pipeline.restorer import Restorer
from likeness.types import Frame

COUNT = 20


@pytest.fixture
def clip(scene, make_clip):
    return make_clip("a.mp4", [np.roll(scene, i, 1) for i in range(COUNT)], seconds=0.8)


@pytest.fixture
def restorer(monkeypatch, face_at, make_models):
    """A function that makes one with known networks, pieces of four frames, and `resume`."""
    monkeypatch.setattr(jobs, "PIECE_SECONDS", Fraction(4, 25))

    def make(*options):
        made = Restorer(from_overrides(["resume=true", "video.blend.weight=0.4", "video.smooth.cutoff=2", *options]))
        made._models = make_models(face_at(150, 110, 90))
        return made

    return make


def decoded(path):
    return [(f.time, f.pixels) for f in VideoReader(path)]


def sound(path):
    with av.open(str(path)) as opened:
        return [(p.pts, bytes(p)) for p in opened.demux(audio=0) if p.size]


def killed_at(frame):
    def progress(done, _):
        if done == frame:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("frame", [2, 4, 5, 11, 19])
def test_a_killed_run_goes_on_and_gives_the_same(clip, restorer, tmp_path, frame):
    whole = restorer().file(clip, tmp_path / "whole")
    first = restorer()
    with pytest.raises(KeyboardInterrupt):
        first.file(clip, tmp_path / "parts", progress=killed_at(frame))
    assert not (tmp_path / "parts" / "a.mp4").exists()
    pieces = sorted((tmp_path / "parts" / ".a.mp4.pieces").glob("*.piece"))
    assert len(pieces) == (frame - 1) // 4  # a piece is known to be done when the next one begins
    again = restorer()
    result = again.file(clip, tmp_path / "parts")
    expert = again.models.experts["expert_f"]
    assert sum(expert.seen) == COUNT - 4 * len(pieces)
    one, two = (decoded(r.outputs["restored"]) for r in (whole, result))
    assert [t for t, _ in one] == [t for t, _ in two] == [f.time for f in VideoReader(clip)]
    for (_, a), (_, b) in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    assert sound(whole.outputs["restored"]) == sound(result.outputs["restored"]) == sound(clip)
    logs = [[json.loads(li) for li in r.outputs["frames"].read_text().splitlines()] for r in (whole, result)]
    for log in logs:
        for line in log:
            for face in line["faces"]:
                face.pop("milliseconds")
    assert logs[0] == logs[1]
    assert len(logs[0]) == COUNT
    faces = [[{k: v for k, v in f.items() if k != "milliseconds"} for f in r.report["faces"]] for r in (whole, result)]
    assert faces[0] == faces[1]
    assert not list((tmp_path / "parts").glob(".*"))  # nothing is left of the pieces


def test_the_result_is_as_good_as_in_one_go(clip, restorer, tmp_path):
    plain = restorer("resume=false")
    one = decoded(plain.file(clip, tmp_path / "one").outputs["restored"])
    two = decoded(restorer().file(clip, tmp_path / "two").outputs["restored"])
    for (t, a), (u, b) in zip(one, two, strict=True):
        assert t == u
        assert np.abs(a.astype(float) - b).mean() < 2.5  # two encodings of one picture


def test_other_options_begin_anew(clip, restorer, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        restorer().file(clip, tmp_path / "out", progress=killed_at(15))
    other = restorer("strength=0.5")
    other.file(clip, tmp_path / "out")
    assert sum(other.models.experts["expert_f"].seen) == COUNT


def test_odd_sizes_and_a_part_keep_their_times(restorer, scene, make_clip, tmp_path):
    clip = make_clip("b.mp4", [np.roll(scene, i, 1)[:, :300] for i in range(COUNT)], seconds=0.8)
    result = restorer("start=0.2", "end=0.6").file(clip, tmp_path / "out")
    times = [t for t, _ in decoded(result.outputs["restored"])]
    assert times == [f.time - VideoReader(clip).source.begin for f in VideoReader(clip)][: len(times)]
    assert len(times) == 10


@pytest.mark.parametrize("options", [["compare=yes"]])
def test_what_is_not_made_in_pieces_is_refused(options, clip, restorer, tmp_path):
    with pytest.raises(ConfigError, match="resume: got true"):
        restorer(*options)
    with pytest.raises(ConfigError, match="with a reference"):
        restorer().file(clip, tmp_path / "out", reference=clip)


def test_pieces_put_together_are_one_stream(clip, tmp_path):
    """Every piece begins with a key picture, times follow one another, and the pictures are those encoded."""
    reader = VideoReader(clip)
    frames = list(reader)
    height, width = frames[0].pixels.shape[:2]
    pieces = []
    for start in range(0, COUNT, 8):
        encoder = SegmentEncoder(reader.source, ".mp4", width, height)
        for frame in frames[start : start + 8]:
            encoder.write(frame)
        pieces.append(encoder.finish())
    for piece in pieces:
        assert piece[0].key
        assert [p.pts for p in piece] == sorted(p.pts for p in piece)
    with VideoWriter(tmp_path / "joined.mp4", reader, width, height, OPTIONS) as writer:
        writer.write_encoded(p for piece in pieces for p in piece)
    found = decoded(tmp_path / "joined.mp4")
    assert [t for t, _ in found] == [f.time for f in frames]
    for (_, pixels), frame in zip(found, frames, strict=True):
        assert np.abs(pixels.astype(float) - frame.pixels).mean() < 2.5
    encoder = SegmentEncoder(reader.source, ".mp4", width, height)
    encoder.write(frames[3])
    with pytest.raises(InputError, match="write in order"):
        encoder.write(Frame(frames[2].pixels, 2, frames[2].time))
