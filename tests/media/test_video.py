"""Videos: exact times, untouched sound, upright frames."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from likeness.errors import InputError, OutputError
from likeness.media.files import atomic_output
from likeness.media.video_reader import VideoReader
from likeness.media.video_source import apply_matrix
from likeness.media.video_writer import VideoWriter
from likeness.types import Frame

VARIABLE = [0, 20, 30, 70, 71, 200, 260, 275]  # ticks: a rate that changes with every frame


def moving(portrait, count):
    """Frames of which no two are alike."""
    return [np.roll(portrait, 3 * i, axis=1) for i in range(count)]


def rewrite(source: Path, target: Path) -> list[str]:
    """Reads and writes without changing a pixel."""
    with VideoReader(source) as reader, VideoWriter(target, reader, reader.info.width, reader.info.height) as writer:
        for frame in reader:
            writer.write(frame)
    return writer.notes


def demuxed(path: Path, kind: str) -> list[tuple[bytes, Fraction]]:
    """Payload and time of every packet of one kind, by PyAV alone."""
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams if s.type == kind)
        return [(bytes(p), p.pts * p.time_base) for p in container.demux(stream) if p.size]


@pytest.mark.parametrize(
    ("effort", "setting"), [("fast", b"subme=2"), ("medium", b"subme=7"), ("slow", b"subme=8")], ids=lambda v: str(v)
)
def test_effort_reaches_the_encoder(make_video, portrait, tmp_path, effort, setting):
    """x264 writes its settings into the stream; these are its presets veryfast, medium and slow."""
    source, out = make_video("in.mp4", moving(portrait, 4), [0, 20, 40, 60], Fraction(1, 600)), tmp_path / "out.mp4"
    with VideoReader(source) as reader:
        size = reader.info.width, reader.info.height
        with VideoWriter(out, reader, *size, effort=effort) as writer:
            for frame in reader:
                writer.write(frame)
    assert setting in out.read_bytes()
    assert b"mbtree=0" in out.read_bytes()


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize(
    "ticks", [pytest.param(list(range(0, 160, 20)), id="constant"), pytest.param(VARIABLE, id="variable")]
)
def test_time_stamps_round_trip_exactly(make_video, portrait, tmp_path, suffix, ticks):
    # Matroska counts milliseconds, so its source does as well.
    base = Fraction(1, 1000) if suffix == ".mkv" else Fraction(1, 600)
    source = make_video(f"in{suffix}", moving(portrait, len(ticks)), ticks, base)
    expected = [tick * base for tick in ticks]
    assert [frame.time for frame in VideoReader(source)] == expected
    rewrite(source, tmp_path / f"out{suffix}")
    written = list(VideoReader(tmp_path / f"out{suffix}"))
    assert [frame.time for frame in written] == expected
    assert [frame.index for frame in written] == list(range(len(ticks)))
    durations = [frame.duration for frame in written][:-1]
    assert durations == [b - a for a, b in pairwise(expected)]


def test_order_and_content_of_frames_survive(make_video, portrait, tmp_path):
    source = make_video("in.mp4", moving(portrait, 8), VARIABLE)
    rewrite(source, tmp_path / "out.mp4")
    for before, after in zip(VideoReader(source), VideoReader(tmp_path / "out.mp4"), strict=True):
        error = np.abs(before.pixels.astype(int) - after.pixels)
        assert error.mean() < 2.5, f"frame {before.index} is not the one that was read"


@pytest.mark.parametrize("offset", [0.0, 0.25], ids=["together", "sound later"])
def test_sound_packets_are_copied_untouched(make_video, portrait, tmp_path, offset):
    source = make_video("in.mp4", moving(portrait, 8), VARIABLE, sound=(1.0, offset))
    rewrite(source, tmp_path / "out.mp4")
    before, after = demuxed(source, "audio"), demuxed(tmp_path / "out.mp4", "audio")
    assert len(before) > 40
    assert [payload for payload, _ in after] == [payload for payload, _ in before]
    assert [time for _, time in after] == [time for _, time in before]


def test_sound_is_interleaved_with_the_pictures(make_video, portrait, tmp_path):
    count = 120
    source = make_video("in.mp4", moving(portrait, count), list(range(0, 20 * count, 20)), sound=(4.0, 0.0))
    rewrite(source, tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as container:
        packets = [(p.stream.type, float(p.dts * p.time_base)) for p in container.demux() if p.dts is not None]
    seen = {"video": 0.0, "audio": 0.0}
    for kind, time in packets:
        seen[kind] = time
        assert abs(seen["video"] - seen["audio"]) < 0.5, "one stream runs ahead of the other in the file"


@pytest.mark.parametrize(("width", "height"), [(79, 96), (80, 95), (79, 95)])
def test_odd_sizes_are_padded_and_a_note_says_so(make_video, portrait, tmp_path, width, height):
    source = make_video("in.mp4", [portrait], [0])
    cut = np.ascontiguousarray(portrait[:height, :width])
    with VideoWriter(tmp_path / "out.mp4", source, width, height) as writer:
        writer.write(Frame(cut))
    assert any("80x96" in note for note in writer.notes)
    (frame,) = VideoReader(tmp_path / "out.mp4")
    assert frame.pixels.shape == (96, 80, 3)
    assert np.abs(frame.pixels[:height, :width].astype(int) - cut).mean() < 3
    edge = frame.pixels.astype(int)
    if width == 79:
        assert np.abs(edge[:, 79] - edge[:, 78]).mean() < 4
    if height == 95:
        assert np.abs(edge[95] - edge[94]).mean() < 4


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotated_videos_are_read_and_written_upright(make_video, portrait, tmp_path, degrees):
    source = make_video("in.mp4", [portrait], [0], rotation=degrees, aspect=Fraction(4, 3))
    # FFmpeg's rotation counts counter-clockwise, as does np.rot90.
    upright = np.rot90(portrait, degrees // 90)
    with VideoReader(source) as reader:
        (frame,) = reader
        assert (reader.info.height, reader.info.width) == upright.shape[:2]
        assert reader.source.pixel_aspect == (Fraction(4, 3) if degrees == 180 else Fraction(3, 4))
    assert np.abs(frame.pixels.astype(int) - upright).mean() < 6
    rewrite(source, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        stored = next(container.decode(video=0))
        assert stored.rotation == 0
        assert container.streams.video[0].sample_aspect_ratio == reader.source.pixel_aspect
        assert np.abs(stored.to_ndarray(format="rgb24").astype(int) - upright).mean() < 8


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((1, 0, 0, 1), lambda p: p),
        ((-1, 0, 0, 1), np.fliplr),
        ((1, 0, 0, -1), np.flipud),
        ((-1, 0, 0, -1), lambda p: np.rot90(p, 2)),
        ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),
        ((0, -1, 1, 0), np.rot90),
        ((0, 1, 1, 0), lambda p: p.swapaxes(0, 1)),
        ((0, -1, -1, 0), lambda p: np.rot90(p, 2).swapaxes(0, 1)),
    ],
)
def test_display_matrix_puts_every_pixel_where_the_standard_says(matrix, expected):
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    before = pixels.copy()
    result = apply_matrix(pixels, matrix)
    assert np.array_equal(result, expected(pixels))
    assert np.array_equal(pixels, before)
    a, b, c, d = matrix
    places = {(x, y): (a * x + c * y, b * x + d * y) for x in range(3) for y in range(2)}
    left, top = min(p for p, _ in places.values()), min(q for _, q in places.values())
    for (x, y), (p, q) in places.items():
        assert np.array_equal(result[q - top, p - left], pixels[y, x])


def test_webm_is_written_as_vp9(make_video, portrait, tmp_path):
    options = {"crf": "10", "b": "0", "cpu-used": "8"}
    source = make_video(
        "in.webm", moving(portrait, 3), [0, 40, 90], Fraction(1, 1000), codec="libvpx-vp9", options=options
    )
    rewrite(source, tmp_path / "out.webm")
    reader = VideoReader(tmp_path / "out.webm")
    assert reader.info.codec == "vp9"
    assert [frame.time for frame in reader] == [Fraction(0), Fraction(40, 1000), Fraction(90, 1000)]


def test_an_mp4_begins_with_its_index(make_video, portrait, tmp_path):
    source = make_video("in.mp4", moving(portrait, 8), VARIABLE)
    rewrite(source, tmp_path / "out.mp4")
    data = (tmp_path / "out.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(tmp_path / "out.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")


def test_a_reader_can_be_iterated_twice_and_left_early(make_video, portrait):
    source = make_video("in.mp4", moving(portrait, 8), VARIABLE)
    with VideoReader(source) as reader:
        first = next(iter(reader))
        again = [frame.pixels for frame in reader]
    assert np.array_equal(first.pixels, again[0])
    assert len(again) == 8


def test_the_info_describes_size_rate_length_and_codecs(make_video, portrait):
    source = make_video("in.mp4", moving(portrait, 8), VARIABLE, sound=(0.5, 0.0))
    info = VideoReader(source).info
    assert (info.kind, info.width, info.height, info.frames) == ("video", 80, 96, 8)
    assert (info.format, info.codec, info.audio) == ("mp4", "h264", ("aac",))
    assert info.duration is not None
    assert info.duration >= Fraction(275, 600)


def test_writing_leaves_the_frame_unchanged(make_video, portrait, tmp_path):
    source = make_video("in.mp4", [portrait], [0])
    pixels = portrait.copy()
    with VideoWriter(tmp_path / "out.mp4", source, 80, 96) as writer:
        writer.write(Frame(pixels))
    assert np.array_equal(pixels, portrait)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        pytest.param(Frame(np.zeros((10, 10, 3), np.uint8)), "expected", id="size"),
        pytest.param(Frame(np.zeros((96, 80, 3), np.uint16)), "uint8", id="depth"),
        pytest.param(Frame(np.zeros((96, 80, 3), np.uint8), time=Fraction(1, 7)), "multiple", id="off the clock"),
        pytest.param(Frame(np.zeros((96, 80, 3), np.uint8), time=Fraction(0)), "not after", id="back in time"),
    ],
)
def test_unfit_frames_are_refused(make_video, portrait, tmp_path, frame, message):
    source = make_video("in.mp4", [portrait], [0])

    def write_both() -> None:
        with VideoWriter(tmp_path / "out.mp4", source, 80, 96) as writer:
            writer.write(Frame(portrait))
            writer.write(frame)

    with pytest.raises(InputError, match=message):
        write_both()


def test_an_interrupted_write_leaves_no_file(make_video, portrait, tmp_path):
    source, final = make_video("in.mp4", moving(portrait, 8), VARIABLE, sound=(0.5, 0.0)), tmp_path / "new" / "out.mp4"

    def interrupted() -> None:
        with atomic_output(final) as path, VideoReader(source) as reader, VideoWriter(path, reader, 80, 96) as writer:
            writer.write(next(iter(reader)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(final.parent.iterdir()) == []


def test_a_video_without_frames_is_an_error(make_video, portrait, tmp_path):
    source = make_video("in.mp4", [portrait], [0])
    with pytest.raises(OutputError, match="no frame"), VideoWriter(tmp_path / "out.mp4", source, 80, 96):
        pass


def test_a_damaged_video_is_refused_or_read_as_far_as_it_goes(make_video, portrait, tmp_path):
    source = make_video("in.mp4", moving(portrait, 8), VARIABLE)
    data = source.read_bytes()
    (tmp_path / "headless.mp4").write_bytes(data[: len(data) // 2])  # the index stands at the end
    with pytest.raises(InputError, match="cannot be opened"):
        VideoReader(tmp_path / "headless.mp4")
    source = make_video("long.mp4", moving(portrait, 40), range(0, 800, 20))
    rewrite(source, tmp_path / "fast.mp4")
    fast = (tmp_path / "fast.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(fast[: len(fast) - len(fast) // 3])
    reader = VideoReader(tmp_path / "cut.mp4")
    assert 0 < len(list(reader)) < 40
    assert any("missing" in note or "damaged" in note for note in reader.notes)


def test_a_file_with_sound_alone_is_refused(tmp_path):
    path = tmp_path / "tone.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = 44100, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(InputError, match="no moving pictures, only audio; give"):
        VideoReader(path)


def test_an_unknown_container_is_refused(make_video, portrait, tmp_path):
    source = make_video("in.mp4", [portrait], [0])
    with pytest.raises(OutputError, match=r"\.mp4"):
        VideoWriter(tmp_path / "out.avi", source, 80, 96)
