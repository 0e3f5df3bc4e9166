"""Rare kinds of video: side data that PyAV does not know, codecs without an encoder, codecs that nobody knows."""

from __future__ import annotations

from fractions import Fraction
from io import BytesIO

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image

from likeness.errors import InputError
from likeness.media.video_reader import VideoReader
from likeness.media.video_source import display_matrix
from likeness.media.video_writer import VideoWriter


def mux(path, codec: str, payloads: list[bytes], size: tuple[int, int], rotation: int = 0):
    """A file of ready packets."""
    with av.open(str(path), "w") as out:
        stream = out.add_mux_stream(codec, rate=8, width=size[0], height=size[1])
        stream.time_base = Fraction(1, 8)
        if rotation:
            stream.set_display_rotation(rotation)
        for i, payload in enumerate(payloads):
            packet = av.Packet(payload)
            packet.stream, packet.time_base, packet.pts, packet.dts = stream, Fraction(1, 8), i, i
            packet.duration, packet.is_keyframe = 1, True
            out.mux(packet)
    return path


def jpeg(pixels, orientation: int = 1) -> bytes:
    """A JPEG with EXIF, which FFmpeg attaches to its frame as side data of type 31 (30 in FFmpeg 8.0)."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "camera"
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95, exif=exif)
    return file.getvalue()


def test_side_data_of_an_unknown_type_is_ignored(portrait, tmp_path):
    source = mux(tmp_path / "lapse.mov", "mjpeg", [jpeg(np.roll(portrait, i, 1)) for i in range(4)], (80, 96))
    with VideoReader(source) as reader, VideoWriter(tmp_path / "out.mov", reader, 80, 96) as writer:
        for frame in reader:
            assert np.abs(frame.pixels.astype(int) - np.roll(portrait, frame.index, 1)).mean() < 3
            writer.write(frame)
    assert len(list(VideoReader(tmp_path / "out.mov"))) == 4


HDR10 = (
    "log-level=none:hdr10=1:repeat-headers=1:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:max-cll=1000,400:"
    "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
)
# Encoder, pixel format and options that make side data, what is told, and how many notes there are.
ATTACHED = {
    "3D.mp4": ("libx264", "yuv420p", {"x264-params": "frame-packing=3"}, "3D pictures", 1),
    "hdr10.mkv": ("libx265", "yuv420p10le", {"x265-params": HDR10}, "HDR metadata", 2),
    "timecode.mpg": ("mpeg2video", "yuv420p", {"gop_timecode": "01:02:03:04"}, "", 0),
}


@pytest.mark.parametrize("name", ATTACHED)
def test_side_data_that_is_lost_is_told(make_video, portrait, name):
    codec, pixels, options, told, count = ATTACHED[name]
    tick = Fraction(1, 25)
    with VideoReader(
        make_video(name, [portrait] * 3, range(3), tick, codec=codec, options=options, pixels=pixels)
    ) as r:
        assert len(list(r)) == 3
        assert len(r.notes) == count
        assert not told or any(told in note for note in r.notes)


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_the_turn_is_known_beside_unknown_side_data(turn):
    class FrameOfAnotherFFmpeg:
        rotation = turn if turn < 180 else turn - 360  # as PyAV tells it

        @property
        def side_data(self):
            raise ValueError("31 is not a valid Type")

    a, b, c, d = display_matrix(FrameOfAnotherFFmpeg())
    # FFmpeg's rotation counts counter-clockwise; y points down.
    assert (a, b) == (round(np.cos(np.deg2rad(turn))), -round(np.sin(np.deg2rad(turn))))
    assert (c, d) == (-b, a)


def test_hap_is_read_and_its_change_of_codec_is_told(tmp_path):
    # One section of uncompressed DXT1 (type 0xAB): each block has two RGB565 colours and 16 two-bit indices, all 0.
    orange = (25 << 11 | 30 << 5 | 5).to_bytes(2, "little")
    blocks = (orange + b"\0\0" + b"\0\0\0\0") * (16 * 12)
    hap = len(blocks).to_bytes(3, "little") + b"\xab" + blocks
    source = mux(tmp_path / "loop.mov", "hap", [hap] * 3, (64, 48))
    with VideoReader(source) as reader, VideoWriter(tmp_path / "out.mov", reader, 64, 48) as writer:
        for frame in reader:
            assert np.abs(frame.pixels.astype(int) - (206, 121, 41)).max() <= 3
            writer.write(frame)
    assert "pictures: hap became h264" in writer.notes


def test_a_cover_is_no_moving_picture(portrait, tmp_path):
    with av.open(str(tmp_path / "song.mp4"), "w") as out:
        sound = out.add_stream("aac", rate=44100, layout="mono")
        cover = out.add_mux_stream("mjpeg", rate=1, width=80, height=96)
        cover.disposition = Disposition.attached_pic
        packet = av.Packet(jpeg(portrait))
        packet.stream, packet.time_base, packet.pts, packet.dts = cover, Fraction(1), 0, 0
        out.mux(packet)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = 44100, 0
        out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    with pytest.raises(InputError, match="no moving pictures, only audio, a cover picture; give a video"):
        VideoReader(tmp_path / "song.mp4")


def test_a_codec_that_nobody_knows_is_refused_in_one_sentence(make_video, portrait):
    source = make_video("in.mov", [portrait], [0])
    source.write_bytes(source.read_bytes().replace(b"avc1", b"Zzz1"))
    with pytest.raises(InputError, match="its video codec is unknown to FFmpeg"):
        VideoReader(source)
