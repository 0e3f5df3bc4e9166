"""Transparent clips: alpha stays in WebM and MOV, and its loss elsewhere is told at once."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from likeness.errors import OutputError
from likeness.media.segments import SegmentEncoder
from likeness.media.video_reader import VideoReader
from likeness.media.video_source import decoder_of
from likeness.media.video_writer import VideoWriter
from likeness.types import Frame

WIDTH, HEIGHT = 64, 48
# File, encoder, its pixel format and options.
SOURCES = {
    "VP9 in WebM": ("a.webm", "libvpx-vp9", "yuva420p", {"crf": "4", "b": "0", "auto-alt-ref": "0"}),
    "ProRes 4444 in MOV": ("a.mov", "prores_ks", "yuva444p10le", {"profile": "4444", "alpha_bits": "16"}),
    "PNG in MOV": ("a.mov", "png", "rgba", {}),
    "Animation in MOV": ("a.mov", "qtrle", "argb", {}),
    "FFV1 in MKV": ("a.mkv", "ffv1", "yuva420p", {}),
    "PNG in MP4": ("a.mp4", "png", "rgba", {}),
}


def disc(index: int) -> np.ndarray:
    """An orange disc with a soft edge before nothing, RGBA; it moves with the index."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    alpha = np.clip(128 + 40 * (14 - np.hypot(x - 24 - 2 * index, y - 24)), 0, 255)
    return np.dstack([np.full_like(alpha, 200), np.full_like(alpha, 120), np.full_like(alpha, 40), alpha]).astype(
        np.uint8
    )


@pytest.fixture
def transparent(tmp_path):
    def make(name: str):
        file, codec, pixels, options = SOURCES[name]
        with av.open(str(tmp_path / file), "w") as out:
            stream = out.add_stream(codec, rate=25, options=options)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
            for i in range(5):
                frame = av.VideoFrame.from_ndarray(disc(i), "rgba").reformat(format=pixels)
                frame.pts, frame.time_base = i, Fraction(1, 25)
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
        return tmp_path / file

    return make


def rewrite(source, target) -> list[str]:
    with VideoReader(source) as reader, VideoWriter(target, reader, WIDTH, HEIGHT) as writer:
        for frame in reader:
            writer.write(frame)
    return writer.notes


@pytest.mark.parametrize("name", [name for name in SOURCES if "MP4" not in name])
def test_alpha_is_read_and_stays(transparent, tmp_path, name):
    source = transparent(name)
    target = tmp_path / f"out{source.suffix}"
    notes = rewrite(source, target)
    assert any("transparency stays" in note for note in notes)
    with av.open(str(target)) as container:
        stream = container.streams.video[0]
        decode = decoder_of(stream)
        written = [frame for packet in container.demux(stream) for frame in decode(packet)]
    assert len(written) == 5
    for i, (before, frame) in enumerate(zip(VideoReader(source), written, strict=True)):
        scale = 257 if before.alpha.dtype == np.uint16 else 1
        assert np.abs(before.alpha / scale - disc(i)[..., 3]).mean() < 2
        rgba = frame.to_ndarray(format="rgba").astype(int)
        assert np.abs(rgba[..., 3] - disc(i)[..., 3]).mean() < 2
        opaque = disc(i)[..., 3] > 250
        assert np.abs(rgba[opaque][:, :3] - (200, 120, 40)).mean() < 4


def test_lost_alpha_is_told_before_the_first_frame_is_written(transparent, tmp_path, caplog):
    with (
        VideoReader(transparent("PNG in MP4")) as reader,
        VideoWriter(tmp_path / "out.mp4", reader, WIDTH, HEIGHT) as writer,
    ):
        assert "transparency is lost" in caplog.text
        assert any("transparency is lost: .mp4" in note for note in writer.notes)
        for frame in reader:
            writer.write(frame)


def test_opaque_clips_have_no_alpha(make_video, portrait):
    (frame,) = VideoReader(make_video("in.mp4", [portrait], [0]))
    assert frame.alpha is None


def test_enlarged_transparent_clips_with_odd_sizes(transparent, tmp_path):
    source = transparent("VP9 in WebM")
    with VideoReader(source) as reader, VideoWriter(tmp_path / "out.webm", reader, 63, 47) as writer:
        for frame in reader:
            cut = [np.ascontiguousarray(part[:47, :63]) for part in (frame.pixels, frame.alpha)]
            writer.write(Frame(cut[0], frame.index, frame.time, frame.duration, cut[1]))
    again = list(VideoReader(tmp_path / "out.webm"))
    assert np.abs(again[0].alpha[:47, :63].astype(int) - disc(0)[:47, :63, 3]).mean() < 2


def test_a_transparent_video_is_not_written_in_segments(transparent):
    with VideoReader(transparent("VP9 in WebM")) as reader, pytest.raises(OutputError, match="leave resume=true out"):
        SegmentEncoder(reader.source, ".webm", WIDTH, HEIGHT)
