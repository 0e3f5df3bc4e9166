"""A file's kind goes by its content, and a result appears whole or not at all."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from likeness.errors import InputError, OutputError
from likeness.media.files import atomic_output, kind_of
from likeness.media.folders import find_media


def save_image(path: Path, format: str, **options: object) -> None:
    first = Image.fromarray(np.full((8, 8, 3), 90, np.uint8))
    second = Image.fromarray(np.full((8, 8, 3), 190, np.uint8))
    first.save(path, format, **({"save_all": True, "append_images": [second]} if options.get("animated") else {}))


def save_video(path: Path, format: str, codec: str) -> None:
    with av.open(str(path), "w", format=format) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(stream.encode(None))


def tiff(tags: dict[int, int | bytes]) -> bytes:
    """A TIFF's header and a first directory with nothing but `tags` (TIFF 6.0, section 2)."""
    entries = b"".join(
        struct.pack("<HHI", tag, 1, 4) + value if isinstance(value, bytes) else struct.pack("<HHII", tag, 4, 1, value)
        for tag, value in sorted(tags.items())
    )
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4)


def test_a_reduced_first_page_alone_makes_no_camera_raw(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff({254: 1, 262: 2}))
    assert kind_of(tmp_path / "a.tif") == "photo"


def test_a_damaged_brand_makes_no_video_of_a_still(tmp_path):
    save_image(tmp_path / "a.avif", "AVIF")
    data = (tmp_path / "a.avif").read_bytes()
    (tmp_path / "a.avif").write_bytes(data[:11] + b"\xc3" + data[12:])  # the major brand is "avi" and a stray byte
    assert kind_of(tmp_path / "a.avif") == "photo"


@pytest.mark.parametrize(
    ("format", "animated", "kind"),
    [
        ("JPEG", False, "photo"),
        ("PNG", False, "photo"),
        ("WEBP", False, "photo"),
        ("TIFF", False, "photo"),
        ("BMP", False, "photo"),
        ("AVIF", False, "photo"),
        ("AVIF", True, "gif"),
        ("JPEG2000", False, "photo"),
        ("PPM", False, "photo"),
        ("GIF", False, "gif"),
        ("GIF", True, "gif"),
        ("WEBP", True, "gif"),
        ("PNG", True, "gif"),
    ],
)
def test_the_kind_of_a_picture_goes_by_its_content(tmp_path, format, animated, kind):
    path = tmp_path / "picture.mp4"  # the name lies
    save_image(path, format, animated=animated)
    assert kind_of(path) == kind


@pytest.mark.parametrize(
    ("format", "codec"),
    [
        ("mp4", "libx264"),
        ("mov", "libx264"),
        ("matroska", "libx264"),
        ("webm", "libvpx-vp9"),
        ("avi", "mpeg4"),
        ("mpegts", "libx264"),
        ("mpeg", "mpeg1video"),
        ("flv", "flv"),
        ("asf", "mpeg4"),
        ("mxf", "mpeg2video"),
        ("yuv4mpegpipe", "wrapped_avframe"),
        ("ivf", "libvpx-vp9"),
        ("mpeg2video", "mpeg2video"),
        ("h264", "libx264"),
        ("hevc", "libx265"),
        ("nut", "mpeg4"),
    ],
)
def test_the_kind_of_a_video_goes_by_its_content(tmp_path, format, codec):
    path = tmp_path / "clip.jpg"
    save_video(path, format, codec)
    assert kind_of(path) == "video"


def test_a_dv_tape_is_a_video(tmp_path):
    with av.open(str(tmp_path / "a"), "w", format="dv") as container:
        stream = container.add_stream("dvvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = 720, 576, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(720, 576, "yuv420p")))
        container.mux(stream.encode(None))
    assert kind_of(tmp_path / "a") == "video"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda p: None, "no such file", id="missing"),
        pytest.param(lambda p: p.mkdir(), "is a folder", id="folder"),
        pytest.param(lambda p: p.touch(), "empty", id="empty"),
        pytest.param(lambda p: p.write_text("file,what,width\n"), "is a text file, expected a photo", id="text"),
        pytest.param(lambda p: p.write_text("ü" * 9 + "\r\n<HTML lang=en>"), "is a web page", id="web page"),
        pytest.param(lambda p: p.write_bytes(b"\x07" * 9), "is a file of unknown kind", id="unknown"),
        pytest.param(lambda p: p.write_bytes(b"ID3\x04"), "is a sound file", id="sound"),
        pytest.param(lambda p: p.write_bytes(b"8BPS\x00\x01"), "Photoshop document.*export it as PNG", id="PSD"),
        pytest.param(lambda p: p.write_bytes(tiff({50706: b"\1\4\0\0"})), "camera raw file", id="DNG"),
        pytest.param(lambda p: p.write_bytes(tiff({254: 1, 330: 8})), "export a JPEG or TIFF first", id="raw, preview"),
        pytest.param(lambda p: p.write_bytes(tiff({262: 32803})), "camera raw file", id="raw, sensor"),
        pytest.param(lambda p: p.write_bytes(b"II*\0\x10\0\0\0CR\2\0" + bytes(9)), "camera raw file", id="CR2"),
        pytest.param(lambda p: p.write_bytes(b"\0\0\0\x18ftypcrx " + bytes(12)), "camera raw file", id="CR3"),
        pytest.param(lambda p: p.write_bytes(b"\0\0\0\x18ftyphevc" + bytes(12)), "sequence of HEIC", id="HEIC"),
        pytest.param(lambda p: p.symlink_to("nowhere"), "no such file", id="dangling link"),
    ],
)
def test_what_is_no_medium_is_refused_in_one_line(tmp_path, make, message):
    path = tmp_path / "input.png"
    make(path)
    with pytest.raises(InputError, match=message) as caught:
        kind_of(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_output_appears_when_it_is_complete(tmp_path):
    final = tmp_path / "deep" / "er" / "out.png"
    with atomic_output(final) as path:
        path.write_bytes(b"half")
        assert path.parent == final.parent
        assert path.suffix == ".png"
        assert not final.exists()
        assert find_media(tmp_path) == [], "an incomplete file is taken for an input"
        path.write_bytes(b"whole")
    assert final.read_bytes() == b"whole"
    assert list(final.parent.iterdir()) == [final]
    plain = tmp_path / "plain"
    plain.touch()
    assert final.stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_output_leaves_the_earlier_file(tmp_path, error):
    final = tmp_path / "out.png"
    final.write_bytes(b"before")

    def interrupted() -> None:
        with atomic_output(final) as path:
            path.write_bytes(b"half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert final.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [final]


def test_an_error_of_writing_names_the_final_file(tmp_path):
    final = tmp_path / "out.png"
    with pytest.raises(OutputError) as caught, atomic_output(final) as path:
        raise OutputError(f"{path}: cannot be written")
    assert str(caught.value) == f"{final}: cannot be written"
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"), atomic_output(tmp_path / "file" / "out.png"):
        pass
    with pytest.raises(OutputError, match="is a folder"), atomic_output(tmp_path):
        pass
