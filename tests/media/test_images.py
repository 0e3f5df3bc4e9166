"""Photos: the right pixels are read, and the same kind of file is written."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, ImageOps, JpegImagePlugin

from likeness.errors import InputError, OutputError
from likeness.media.image_writer import write_image
from likeness.media.images import ImageMeta, read_image
from likeness.media.metadata import orient, upright_exif
from likeness.types import Frame

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def copy(source: Path, target: Path):
    """Reads and writes unchanged; returns the picture and the notes of writing."""
    picture = read_image(source)
    return picture, write_image(target, picture.frame, picture.meta)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png16(pixels: np.ndarray, extra: bytes = b"") -> bytes:
    """A 16-bit PNG from the specification alone: no filter, one IDAT."""
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\x00" + row.astype(">u2").tobytes() for row in pixels)
    parts = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def ffmpeg_pixels(path: Path, format: str) -> np.ndarray:
    """What FFmpeg, an independent decoder, sees."""
    with av.open(str(path)) as container:
        return next(container.decode(video=0)).to_ndarray(format=format)


def exif_bytes(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Model] = "Camera"
    exif[ExifTags.IFD.GPSInfo] = {1: "N", 2: (52.0, 30.0, 0.0)}
    return exif.tobytes()


@pytest.fixture
def lossless(portrait) -> np.ndarray:
    return np.ascontiguousarray(portrait[:30, :21])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_and_reset(tmp_path, lossless, orientation):
    stored = Image.fromarray(lossless)
    stored.save(tmp_path / "in.png", exif=exif_bytes(orientation))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "in.png")))
    picture, notes = copy(tmp_path / "in.png", tmp_path / "out.png")
    assert np.array_equal(picture.frame.pixels, expected)
    assert (picture.info.width, picture.info.height) == (expected.shape[1], expected.shape[0])
    with Image.open(tmp_path / "out.png") as written:
        assert np.array_equal(np.asarray(written), expected)
        exif = written.getexif()
        assert exif[ExifTags.Base.Orientation] == 1
        assert exif[ExifTags.Base.Model] == "Camera"
        assert exif.get_ifd(ExifTags.IFD.GPSInfo)[2] == (52.0, 30.0, 0.0)
    assert notes == ()


@pytest.mark.parametrize("order", [b"II*\x00", b"MM\x00*"])
def test_resetting_orientation_changes_nothing_else(order):
    sign = "<" if order[:1] == b"I" else ">"
    entries = [struct.pack(sign + "HHIHH", 0x0112, 3, 1, 6, 0), struct.pack(sign + "HHII", 0x927C, 7, 5, 38)]
    body = order + struct.pack(sign + "IH", 8, 2) + b"".join(entries) + struct.pack(sign + "I", 0) + b"maker"
    result = upright_exif(body)
    assert result == b"Exif\x00\x00" + body.replace(entries[0], struct.pack(sign + "HHIHH", 0x0112, 3, 1, 1, 0))
    assert upright_exif(result) == result
    assert upright_exif(b"junk") == b"Exif\x00\x00junk"


def test_orient_leaves_its_input_alone(lossless):
    before = lossless.copy()
    for orientation in range(1, 9):
        orient(lossless, orientation)
    assert np.array_equal(lossless, before)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_profile_and_resolution_are_kept(tmp_path, lossless, suffix):
    Image.fromarray(lossless).save(tmp_path / f"in{suffix}", icc_profile=SRGB, dpi=(300, 300), exif=exif_bytes(1))
    picture, notes = copy(tmp_path / f"in{suffix}", tmp_path / f"out{suffix}")
    assert picture.meta.icc == SRGB
    assert notes == ()
    with Image.open(tmp_path / f"out{suffix}") as written:
        assert written.info["icc_profile"] == SRGB
        assert written.getexif()[ExifTags.Base.Model] == "Camera"
        if suffix in (".jpg", ".png", ".tif"):
            assert written.info["dpi"] == pytest.approx((300, 300), abs=0.02)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
@pytest.mark.parametrize("mode", ["RGB", "L", "1"])
def test_lossless_formats_round_trip(tmp_path, lossless, suffix, mode):
    stored = Image.fromarray(lossless).convert(mode)
    stored.save(tmp_path / f"in{suffix}")
    copy(tmp_path / f"in{suffix}", tmp_path / f"out{suffix}")
    with Image.open(tmp_path / f"out{suffix}") as written:
        assert written.mode == ("L" if mode == "1" else mode), "grey must stay grey"
        assert np.array_equal(np.asarray(written.convert("RGB")), np.asarray(stored.convert("RGB")))


def test_a_grey_photo_that_got_colour_is_written_in_colour(tmp_path, lossless):
    grey_profile = SRGB[:16] + b"GRAY" + SRGB[20:]
    notes = write_image(tmp_path / "out.png", Frame(lossless), ImageMeta("png", "L", icc=grey_profile))
    with Image.open(tmp_path / "out.png") as written:
        assert written.mode == "RGB"
        assert "icc_profile" not in written.info
    assert any("profile" in note for note in notes)


def gradient_alpha(shape: tuple[int, ...]) -> np.ndarray:
    return np.linspace(0, 255, shape[0] * shape[1]).astype(np.uint8).reshape(shape[:2])


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_alpha_is_kept(tmp_path, lossless, mode, suffix):
    stored = Image.fromarray(lossless).convert(mode[:-1])
    stored.putalpha(Image.fromarray(gradient_alpha(lossless.shape)))
    stored.save(tmp_path / f"in{suffix}")
    picture, _ = copy(tmp_path / f"in{suffix}", tmp_path / f"out{suffix}")
    assert np.array_equal(picture.frame.alpha, gradient_alpha(lossless.shape))
    with Image.open(tmp_path / f"out{suffix}") as written:
        assert written.mode == mode
        assert np.array_equal(np.asarray(written), np.asarray(stored))


def test_a_palette_with_transparency_becomes_rgba(tmp_path, lossless):
    stored = Image.fromarray(lossless).quantize(16)
    stored.save(tmp_path / "in.png", transparency=3)
    picture, _ = copy(tmp_path / "in.png", tmp_path / "out.png")
    assert picture.meta.mode == "P"
    assert np.array_equal(picture.frame.alpha == 0, np.asarray(stored) == 3)
    assert np.array_equal(picture.frame.pixels, np.asarray(stored.convert("RGB")))


@pytest.mark.parametrize("channels", [1, 2, 3, 4], ids=["grey", "grey and alpha", "rgb", "rgba"])
def test_16_bits_round_trip_exactly(tmp_path, channels):
    rng = np.random.default_rng(7)
    values = rng.integers(0, 65536, (9, 13, channels)).astype(np.uint16)
    values = values[..., 0] if channels == 1 else values
    extra = chunk(b"iCCP", b"x\x00\x00" + zlib.compress(SRGB)) if channels > 2 else b""
    (tmp_path / "in.png").write_bytes(png16(values, extra))
    picture, notes = copy(tmp_path / "in.png", tmp_path / "out.png")
    colour = values if channels > 2 else np.dstack([values if channels == 1 else values[..., 0]] * 3)
    assert picture.frame.pixels.dtype == np.uint16
    assert np.array_equal(picture.frame.pixels, colour[..., :3])
    assert (picture.frame.alpha is None) == (channels in (1, 3))
    if picture.frame.alpha is not None:
        assert np.array_equal(picture.frame.alpha, values[..., -1])
    assert notes == ()
    formats = {1: "gray16le", 3: "rgb48le"}
    if channels in formats:
        assert np.array_equal(ffmpeg_pixels(tmp_path / "out.png", formats[channels]), values)
    assert np.array_equal(read_image(tmp_path / "out.png").frame.pixels, picture.frame.pixels)
    assert read_image(tmp_path / "out.png").meta.icc == (SRGB if extra else None)


def test_16_bits_are_turned_upright_and_keep_their_metadata(tmp_path):
    values = np.arange(2 * 3 * 3, dtype=np.uint16).reshape(2, 3, 3) * 1000
    extra = chunk(b"pHYs", struct.pack(">IIB", 11811, 11811, 1)) + chunk(b"eXIf", exif_bytes(6)[6:])
    (tmp_path / "in.png").write_bytes(png16(values, extra))
    copy(tmp_path / "in.png", tmp_path / "out.png")
    assert np.array_equal(ffmpeg_pixels(tmp_path / "out.png", "rgb48le"), np.rot90(values, -1))
    with Image.open(tmp_path / "out.png") as written:
        assert written.info["dpi"] == pytest.approx((300, 300), abs=0.02)
        assert written.getexif()[ExifTags.Base.Orientation] == 1
        assert written.getexif()[ExifTags.Base.Model] == "Camera"


def test_a_jpeg_is_written_at_quality_95_without_subsampling(tmp_path, portrait):
    write_image(tmp_path / "out.jpg", Frame(portrait), ImageMeta())
    reference = io.BytesIO()
    Image.fromarray(portrait).save(reference, "JPEG", quality=95)
    with Image.open(tmp_path / "out.jpg") as written, Image.open(reference) as known:
        assert JpegImagePlugin.get_sampling(written) == 0
        assert written.quantization == known.quantization
        assert np.abs(np.asarray(written).astype(int) - portrait).mean() < 1


@pytest.mark.parametrize("rgb", [(200, 60, 50), (40, 160, 70), (255, 255, 255), (0, 0, 0)])
def test_cmyk_is_converted_right_and_written_as_rgb(tmp_path, rgb):
    ink = 255 - np.array(rgb, np.uint8)  # all colour in C, M, Y; no black
    stored = np.dstack([np.full((16, 16), value, np.uint8) for value in (*ink, 0)])
    Image.fromarray(stored, "CMYK").save(tmp_path / "in.jpg", quality=100)
    picture, _ = copy(tmp_path / "in.jpg", tmp_path / "out.jpg")
    assert np.abs(picture.frame.pixels.astype(int) - rgb).max() <= 2
    assert any("CMYK" in note for note in picture.notes)
    with Image.open(tmp_path / "out.jpg") as written:
        assert written.mode == "RGB"
        assert np.abs(np.asarray(written).astype(int) - rgb).max() <= 4


def test_of_several_pages_the_first_is_read_and_a_note_says_so(tmp_path, lossless):
    first = Image.fromarray(lossless)
    first.save(tmp_path / "in.tif", save_all=True, append_images=[ImageOps.invert(first)])
    picture = read_image(tmp_path / "in.tif")
    assert np.array_equal(picture.frame.pixels, lossless)
    assert any("first of 2" in note for note in picture.notes)


BOMB = (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(b"\x00"))
)


def truncated(path: Path, pixels: np.ndarray, format: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format)
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) * 2 // 3])


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


def test_writing_changes_neither_frame_nor_meta(tmp_path, lossless):
    alpha = gradient_alpha(lossless.shape)
    frame, meta = (
        Frame(lossless.copy(), alpha=alpha.copy()),
        ImageMeta("png", "RGBA", exif_bytes(1), SRGB, (72.0, 72.0)),
    )
    write_image(tmp_path / "out.png", frame, meta)
    assert np.array_equal(frame.pixels, lossless)
    assert np.array_equal(frame.alpha, alpha)
