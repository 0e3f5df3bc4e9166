"""Photos that cannot be read, or not be written as asked: one line, and no file."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from likeness.errors import InputError, OutputError
from likeness.media.image_writer import write_image
from likeness.media.images import ImageMeta, read_image
from likeness.types import Frame
from tests.media.pictures import chunk, png16

BOMB = (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(b"\x00"))
)


def truncated(path: Path, pixels: np.ndarray, format: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format)
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) * 2 // 3])


def damaged_avif(path: Path, pixels: np.ndarray) -> None:
    """The coded picture, which follows "mdat", is overwritten."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "AVIF")
    data = bytearray(buffer.getvalue())
    start = data.index(b"mdat") + 4
    data[start + 2 : start + 40] = b"\xff" * 38
    path.write_bytes(data)


def tiff_without_width(path: Path, pixels: np.ndarray) -> None:
    """In the directory of the second page, the tag of the width, its first, becomes another."""
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    image.save(buffer, "TIFF", save_all=True, append_images=[image])
    data = bytearray(buffer.getvalue())
    (first,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    (second,) = struct.unpack_from("<I", data, first + 2 + 12 * count)
    assert struct.unpack_from("<H", data, second + 2) == (256,)
    struct.pack_into("<H", data, second + 2, 200)
    path.write_bytes(data)


def deep_pages(path: Path) -> None:
    pages = [np.full((8, 8, 3), value, np.uint16) for value in (1000, 60000)]
    assert cv2.imwritemulti(str(path.with_suffix(".tif")), pages)
    path.with_suffix(".tif").rename(path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda p, x: truncated(p, x, "JPEG"), "damaged or incomplete", id="cut JPEG"),
        pytest.param(lambda p, x: truncated(p, x, "PNG"), "damaged or incomplete", id="cut PNG"),
        pytest.param(
            lambda p, x: p.write_bytes(png16(x.astype(np.uint16) * 257)[:3000]), "damaged", id="cut 16-bit PNG"
        ),
        pytest.param(
            lambda p, x: p.write_bytes(b"\x89PNG\r\n\x1a\nrubbish"), "no picture that can be read", id="rubbish"
        ),
        pytest.param(lambda p, x: tiff_without_width(p, x), "Missing dimensions", id="TIFF without width"),
        pytest.param(lambda p, x: damaged_avif(p, x), "damaged or incomplete", id="AVIF"),
        pytest.param(lambda p, x: deep_pages(p), "2 pages of 16 bits", id="deep pages"),
        pytest.param(lambda p, x: p.touch(), "empty", id="empty"),
        pytest.param(lambda p, x: Image.fromarray(np.zeros((4, 4), np.int32)).save(p, "TIFF"), "32 bits", id="32 bits"),
        pytest.param(
            lambda p, x: p.write_bytes(BOMB),
            "more pixels",
            id="bomb",
        ),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path, portrait, make, message):
    path = tmp_path / "bad.png"
    make(path, portrait)
    with pytest.raises(InputError, match=message) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "frame", "message"),
    [
        ("a.jpg", Frame(np.zeros((4, 4, 3), np.uint16)), "16 bits"),
        ("a.jpg", Frame(np.zeros((4, 4, 3), np.uint8), alpha=np.zeros((4, 4), np.uint8)), "no alpha"),
        ("a.png", Frame(np.zeros((4, 4, 3), np.uint8), alpha=np.zeros((2, 2), np.uint8)), "alpha is"),
        ("a.gif", Frame(np.zeros((4, 4, 3), np.uint8)), "are written as"),
        ("nowhere/a.png", Frame(np.zeros((4, 4, 3), np.uint8)), "cannot be written"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, name, frame, message):
    with pytest.raises(OutputError, match=message):
        write_image(tmp_path / name, frame, ImageMeta())
    assert list(tmp_path.iterdir()) == []
