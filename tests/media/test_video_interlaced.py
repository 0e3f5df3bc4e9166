"""Interlaced clips are deinterlaced, one frame for each frame, with either field first."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from likeness.media.video_reader import VideoReader
from likeness.media.video_writer import VideoWriter
from likeness.types import TimeRange

WIDTH, HEIGHT, COUNT = 96, 64, 10


def scene(tick: int) -> np.ndarray:
    """A soft bright bar that moves by 3 pixels a tick, RGB; a tick is half a frame."""
    x = np.arange(WIDTH)
    bar = 40 + 170 / (1 + np.exp(np.abs(x - 12 - 3 * tick) - 8))
    return np.repeat(np.tile(bar, (HEIGHT, 1))[..., None], 3, 2).astype(np.uint8)


def woven(index: int, top_first: bool) -> np.ndarray:
    """Two moments in the lines of one frame."""
    frame = scene(2 * index)
    first = 0 if top_first else 1
    frame[1 - first :: 2] = scene(2 * index + 1)[1 - first :: 2]
    return frame


def make(path: Path, codec: str, top_first: bool, frames=None, rate: Fraction = Fraction(25)) -> Path:
    options = {
        "libx264": {"qp": "0", "x264-params": "tff=1" if top_first else "bff=1"},
        "mpeg2video": {"qscale": "1", "flags": "+ildct+ilme", "field_order": "tt" if top_first else "bb"},
    }[codec]
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        field = "tff" if top_first else "bff"
        for i, pixels in enumerate(frames or [woven(i, top_first) for i in range(COUNT)]):
            graph = av.filter.Graph()
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = i, 1 / rate
            buffer = graph.add_buffer(template=frame)
            graph.link_nodes(buffer, graph.add("setfield", field), graph.add("buffersink")).configure()
            graph.push(frame)
            out.mux(stream.encode(graph.pull()))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("top_first", [True, False], ids=["top field first", "bottom field first"])
@pytest.mark.parametrize(("file", "codec"), [("a.mp4", "libx264"), ("a.mpg", "mpeg2video")])
def test_each_frame_shows_the_moment_of_its_first_field(tmp_path, file, codec, top_first):
    reader = VideoReader(make(tmp_path / file, codec, top_first))
    assert any(note.startswith("interlaced: ") for note in reader.notes)
    frames = list(reader)
    assert len(frames) == COUNT
    assert [b.time - a.time for a, b in pairwise(frames)] == [Fraction(1, 25)] * (COUNT - 1)
    assert frames[-1].duration == Fraction(1, 25)
    for i, frame in enumerate(frames):
        early = np.abs(frame.pixels.astype(int) - scene(2 * i)).mean()
        combed = np.abs(woven(i, top_first).astype(int) - scene(2 * i)).mean()
        assert early < 0.35 * combed, f"frame {i}"


def test_the_result_is_progressive(tmp_path):
    source = make(tmp_path / "a.mp4", "libx264", True)
    with VideoReader(source) as reader, VideoWriter(tmp_path / "out.mp4", reader, WIDTH, HEIGHT) as writer:
        for frame in reader:
            writer.write(frame)
    with av.open(str(tmp_path / "out.mp4")) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == COUNT
    assert not any(frame.interlaced_frame for frame in frames)
    # Deinterlaced once, it stays as it is.
    assert not any("interlaced" in note for note in VideoReader(tmp_path / "out.mp4").notes)


def test_a_part_of_an_interlaced_clip_equals_that_part_of_the_whole(tmp_path):
    source = make(tmp_path / "a.mp4", "libx264", True)
    whole = {frame.time: frame.pixels for frame in VideoReader(source)}
    part = list(VideoReader(source, TimeRange(Fraction(4, 25), Fraction(8, 25))))
    assert len(part) == 4
    for frame in part:
        assert np.array_equal(frame.pixels, whole[frame.time])


def test_film_on_ntsc_video_gets_a_sentence(tmp_path):
    ntsc = VideoReader(make(tmp_path / "a.mpg", "mpeg2video", True, rate=Fraction(30000, 1001)))
    assert any("telecine" in note for note in ntsc.notes)
    pal = VideoReader(make(tmp_path / "b.mpg", "mpeg2video", True))
    assert not any("telecine" in note for note in pal.notes)
