"""Colours of videos: read by their tags, written unchanged, and as deep as the source where the codec allows it."""

from __future__ import annotations

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from likeness.errors import InputError
from likeness.media.video_reader import VideoReader
from likeness.media.video_writer import VideoWriter
from likeness.types import Frame

LIMITED, FULL = 1, 2
KR_KB = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}


def flat_yuv(rgb, size, standard, levels):
    """A yuv420p frame of one colour, by the equations of BT.601 and BT.709 alone."""
    kr, kb = KR_KB[standard]
    r, g, b = (value / 255 for value in rgb)
    y = kr * r + (1 - kr - kb) * g + kb * b
    cb, cr = (b - y) / (2 * (1 - kb)), (r - y) / (2 * (1 - kr))
    scale = (219, 224, 16) if levels == LIMITED else (255, 255, 0)
    values = (scale[2] + scale[0] * y, 128 + scale[1] * cb, 128 + scale[1] * cr)
    width, height = size
    planes = [np.full((height, width), round(values[0]), np.uint8)]
    planes += [np.full((height // 4, width), round(value), np.uint8) for value in values[1:]]
    return av.VideoFrame.from_ndarray(np.concatenate(planes), "yuv420p")


COLOURS = [(200, 60, 50), (40, 160, 70), (50, 80, 190), (224, 172, 140), (128, 128, 128)]


@pytest.mark.parametrize(
    ("standard", "tags", "size"),
    [
        pytest.param("bt601", (6, LIMITED), (1280, 64), id="601 tagged, though wide"),
        pytest.param("bt601", (5, LIMITED), (64, 64), id="601 PAL tagged"),
        pytest.param("bt709", (1, LIMITED), (64, 64), id="709 tagged, though small"),
        pytest.param("bt709", (1, FULL), (64, 64), id="709 full range"),
        pytest.param("bt601", None, (64, 64), id="untagged small"),
        pytest.param("bt709", None, (1280, 64), id="untagged wide"),
        pytest.param("bt709", None, (64, 640), id="untagged high"),
    ],
)
def test_colours_are_read_right_and_do_not_shift(make_video, tmp_path, standard, tags, size):
    levels = tags[1] if tags else LIMITED
    frames = [flat_yuv(rgb, size, standard, levels) for rgb in COLOURS]
    source = make_video("in.mp4", frames, range(0, 100, 20), tags=tags)
    with VideoReader(source) as reader, VideoWriter(tmp_path / "out.mp4", reader, *size) as writer:
        for frame in reader:
            writer.write(frame)
    for name, tolerance in (("in.mp4", 2), ("out.mp4", 3)):
        for rgb, frame in zip(COLOURS, VideoReader(tmp_path / name), strict=True):
            median = np.median(frame.pixels.reshape(-1, 3), axis=0)
            assert np.abs(median - rgb).max() <= tolerance, f"{name}: {median} for {rgb}"
    if tags:
        colour = VideoReader(tmp_path / "out.mp4").source.colour
        assert (colour.matrix, colour.range) == tags


def test_an_untagged_small_video_keeps_its_colours_when_enlarged(make_video, tmp_path):
    source = make_video("in.mp4", [flat_yuv(COLOURS[0], (64, 320), "bt601", LIMITED)], [0])
    with VideoReader(source) as reader, VideoWriter(tmp_path / "out.mp4", reader, 128, 640) as writer:
        for frame in reader:
            writer.write(Frame(frame.pixels.repeat(2, 0).repeat(2, 1), frame.index, frame.time, frame.duration))
    # 640 rows without a tag would be taken for BT.709.
    (frame,) = VideoReader(tmp_path / "out.mp4")
    assert np.abs(np.median(frame.pixels.reshape(-1, 3), axis=0) - COLOURS[0]).max() <= 3


@pytest.fixture
def deep_video(make_video):
    """A ramp of 10-bit grey: 900 levels that 8 bits would merge to 225, and their values."""
    levels = np.linspace(64, 940, 876).astype(np.uint16)
    planes = [
        np.broadcast_to(levels, (64, 876)),
        np.full((32, 438), 512, np.uint16),
        np.full((32, 438), 512, np.uint16),
    ]
    frames = []
    for _ in range(3):
        frame = av.VideoFrame(876, 64, "yuv420p10le")
        for plane, values in zip(frame.planes, planes, strict=True):
            rows = np.zeros((plane.height, plane.line_size // 2), np.uint16)
            rows[:, : plane.width] = values
            plane.update(rows.tobytes())
        frames.append(frame)
    path = make_video("deep.mp4", frames, [0, 20, 40], pixels="yuv420p10le", tags=(1, 1))
    return path, levels


def test_10_bits_stay_10_bits(deep_video, tmp_path):
    path, levels = deep_video
    out = tmp_path / "out.mp4"
    with VideoReader(path) as reader, VideoWriter(out, reader, 876, 64) as writer:
        for frame in reader:
            assert frame.pixels.dtype == np.uint16
            assert len(np.unique(frame.pixels[10, :, 1])) > 800
            writer.write(frame)
        assert any("10-bit colour stays" in note for note in writer.notes)
    with av.open(str(out)) as container:
        written = next(container.decode(video=0))
        assert written.format.name == "yuv420p10le"
        plane = written.planes[0]
        luma = np.frombuffer(bytes(plane), np.uint16).reshape(plane.height, -1)[10, :876]
    # crf 17 moves single levels a little; 8 bits would leave steps of four.
    assert np.abs(luma.astype(int) - levels).mean() < 1.5
    with (
        VideoReader(out) as again,
        pytest.raises(InputError, match="uint16"),
        VideoWriter(out, again, 876, 64) as writer,
    ):
        writer.write(Frame(np.zeros((64, 876, 3), np.uint8)))


def test_a_deep_video_becomes_8_bits_in_webm_and_a_note_says_so(deep_video, tmp_path):
    path, _ = deep_video
    out = tmp_path / "out.webm"
    with VideoReader(path) as reader, VideoWriter(out, reader, 876, 64) as writer:
        for frame in reader:
            writer.write(frame)
        assert any("becomes 8-bit" in note for note in writer.notes)
    with VideoReader(path) as deep, VideoReader(out) as flat:
        a, b = next(iter(deep)).pixels / 257, next(iter(flat)).pixels
    assert b.dtype == np.uint8
    assert np.abs(a - b).mean() < 2


LOCATIONS = {"left": (0.0, 0.5), "center": (0.5, 0.5), "topleft": (0.0, 0.0)}  # of the first sample, in luma pixels


def planes_of(frame):
    """The three planes of an 8-bit frame, without padding."""
    rows = [np.frombuffer(bytes(p), np.uint8).reshape(p.height, -1)[:, : p.width] for p in frame.planes]
    return [r.astype(float) for r in rows]


def edge(plane, axis):
    """Position of the only edge along an axis, in samples, from the area under it."""
    profile = plane.mean(1 - axis)
    low, high = profile[:6].mean(), profile[-6:].mean()
    return len(profile) - 0.5 - float(((profile - low) / (high - low)).sum())


@pytest.fixture
def colour_edges(make_video):
    """A clip whose U has a soft edge along x and V one along y, both at 31.3 chroma samples."""

    def make(location, levels):
        ramp = 1 / (1 + np.exp(-(np.arange(64) - 31.3) / 1.5))
        u, v = np.tile(90 + 70 * ramp, (64, 1)), np.tile(90 + 70 * ramp, (64, 1)).T
        luma = np.full((128, 128), 120)
        stacked = np.concatenate([luma.ravel(), u.ravel(), v.ravel()]).round().astype(np.uint8).reshape(192, 128)
        frames = [av.VideoFrame.from_ndarray(stacked, "yuv420p") for _ in range(3)]
        options = {"qp": "0", "chroma_sample_location": location}
        return make_video("edges.mp4", frames, [0, 20, 40], options=options, tags=(6, levels))

    return make


@pytest.mark.parametrize("levels", [LIMITED, FULL], ids=["limited", "full"])
@pytest.mark.parametrize("location", LOCATIONS)
def test_colour_edges_stay_within_a_fiftieth_of_a_chroma_pixel(colour_edges, tmp_path, location, levels):
    source, once, twice = colour_edges(location, levels), tmp_path / "once.mp4", tmp_path / "twice.mp4"
    for read, written in ((source, once), (once, twice)):
        with VideoReader(read) as reader, VideoWriter(written, reader, 128, 128, {"crf": "4"}) as writer:
            assert reader.source.colour.chroma == location
            for frame in reader:
                writer.write(frame)
    positions = []
    for path in (source, once, twice):
        with av.open(str(path)) as container:
            _, u, v = planes_of(next(container.decode(video=0)))
        positions.append((edge(u, 1), edge(v, 0)))
    assert np.abs(np.array(positions[1:]) - positions[0]).max() < 0.02, positions


@pytest.mark.parametrize("location", LOCATIONS)
def test_colour_edges_lie_where_the_location_says(colour_edges, location):
    """Blue follows U and red follows V: the edges lie at 2 x 31.3 luma pixels plus the first sample's place."""
    frame = next(iter(VideoReader(colour_edges(location, LIMITED))))
    x, y = LOCATIONS[location]
    assert abs(edge(frame.pixels[..., 2].astype(float), 1) - (2 * 31.3 + x)) < 0.2
    assert abs(edge(frame.pixels[..., 0].astype(float), 0) - (2 * 31.3 + y)) < 0.2


def test_enlarging_keeps_colours_on_their_edges(colour_edges, tmp_path):
    """At twice the size a "left" sample still lies on the left: the edge moves from p to 2 p + 0.25 chroma samples."""
    source = colour_edges("left", LIMITED)
    with VideoReader(source) as reader, VideoWriter(tmp_path / "out.mp4", reader, 256, 256, {"crf": "4"}) as writer:
        for frame in reader:
            large = cv2.resize(frame.pixels, (256, 256), interpolation=cv2.INTER_CUBIC)
            writer.write(Frame(large, frame.index, frame.time, frame.duration))
    positions = []
    for path in (source, tmp_path / "out.mp4"):
        with av.open(str(path)) as container:
            positions.append(edge(planes_of(next(container.decode(video=0)))[1], 1))
    # Luma x = 2 p of the source is 2 x + 0.5 in the result, and its sample p' lies at luma 2 p'.
    assert abs(positions[1] - (2 * positions[0] + 0.25)) < 0.04


def test_a_stream_without_a_location_gets_none(make_video, portrait, tmp_path):
    options = {"crf": "10", "b": "0", "cpu-used": "8"}
    source = make_video("in.webm", [portrait], [0], Fraction(1, 1000), codec="libvpx-vp9", options=options)
    assert VideoReader(source).source.colour.chroma is None


@pytest.mark.parametrize(
    ("pixels", "named"), [("yuv411p", "4:1:1"), ("yuv422p", "4:2:2"), ("yuv444p", "4:4:4"), ("bgr0", "RGB")]
)
def test_what_becomes_4_2_0_is_told(make_video, portrait, tmp_path, pixels, named):
    source = make_video("in.mkv", [portrait], [0], Fraction(1, 1000), codec="ffv1", options={}, pixels=pixels)
    with VideoReader(source) as reader, VideoWriter(tmp_path / "out.mkv", reader, 80, 96) as writer:
        (frame,) = reader
        writer.write(frame)
    assert f"{named} colour becomes 4:2:0, which every player shows" in writer.notes
    assert np.abs(frame.pixels.astype(int) - portrait).mean() < 6


def test_grey_clips_stay_grey(make_video, portrait, tmp_path):
    source = make_video("in.mkv", [portrait], [0], Fraction(1, 1000), codec="ffv1", options={}, pixels="gray")
    with VideoReader(source) as reader, VideoWriter(tmp_path / "out.mkv", reader, 80, 96) as writer:
        (frame,) = reader
        writer.write(frame)
    assert not any("4:2:0" in note for note in writer.notes)
    (again,) = VideoReader(tmp_path / "out.mkv")
    assert np.ptp(again.pixels.astype(int), axis=2).max() <= 2
