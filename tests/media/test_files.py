"""A file's kind goes by its content, and a result appears whole or not at all."""

from __future__ import annotations

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


@pytest.mark.parametrize(
    ("format", "animated", "kind"),
    [
        ("JPEG", False, "photo"),
        ("PNG", False, "photo"),
        ("WEBP", False, "photo"),
        ("TIFF", False, "photo"),
        ("BMP", False, "photo"),
        ("AVIF", False, "photo"),
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
    ],
)
def test_the_kind_of_a_video_goes_by_its_content(tmp_path, format, codec):
    path = tmp_path / "clip.jpg"
    save_video(path, format, codec)
    assert kind_of(path) == "video"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda p: None, "no such file", id="missing"),
        pytest.param(lambda p: p.mkdir(), "is a folder", id="folder"),
        pytest.param(lambda p: p.touch(), "empty", id="empty"),
        pytest.param(lambda p: p.write_text("file,what,width\n"), "no known photo, video or GIF", id="text"),
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
