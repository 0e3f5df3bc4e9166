"""Photos: the right pixels are read, and the same kind of file is written."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import av
import cv2
import numpy as np
import pillow_heif
import pytest
from PIL import ExifTags, Image, ImageCms, ImageOps, JpegImagePlugin
from PIL.TiffImagePlugin import AppendingTiffWriter

from likeness.errors import OutputError
from likeness.media.image_writer import TiffPages, write_image
from likeness.media.images import ImageMeta, read_image
from likeness.media.metadata import after_header, orient, png_chunk, png_chunks, upright_exif
from likeness.media.readers import PhotoReader
from likeness.types import Frame
from tests.media.pictures import chunk, png16

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def copy(source: Path, target: Path):
    """Reads and writes unchanged; returns the picture and the notes of writing."""
    picture = read_image(source)
    return picture, write_image(target, picture.frame, picture.meta)


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


@pytest.mark.parametrize("deep", [False, True], ids=["8 bits", "16 bits"])
def test_the_colour_space_that_a_png_names_without_a_profile_is_kept(tmp_path, lossless, deep):
    """Display P3 by code points, with a linear gamma for old viewers; a JPEG cannot say so."""
    cv2.imwrite(str(tmp_path / "plain.png"), lossless.astype(np.uint16) * 257 if deep else lossless)
    colour = {b"cICP": bytes([12, 13, 0, 1]), b"gAMA": (100_000).to_bytes(4)}
    named = after_header((tmp_path / "plain.png").read_bytes(), b"".join(png_chunk(*c) for c in colour.items()))
    (tmp_path / "in.png").write_bytes(named)
    picture, notes = copy(tmp_path / "in.png", tmp_path / "out.png")
    written = list(png_chunks((tmp_path / "out.png").read_bytes()))
    assert [chunk for chunk in written if chunk[0] in colour] == list(colour.items())
    assert written[0][0] == b"IHDR"
    assert notes == ()
    assert np.array_equal(read_image(tmp_path / "out.png").frame.pixels, picture.frame.pixels)
    if not deep:
        assert copy(tmp_path / "in.png", tmp_path / "out.jpg")[1] == (
            "the colour space of the PNG was left out: JPEG cannot hold it",
        )


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


def test_all_pages_of_a_tiff_are_read_without_reduced_copies_and_masks(tmp_path, lossless):
    pages = [lossless, np.ascontiguousarray(lossless[:9]), 255 - lossless, lossless, lossless[::-1]]
    with AppendingTiffWriter(tmp_path / "in.tif", new=True) as tiff:
        for page, kind in zip(pages, [0, 1, 2, 4, 0], strict=True):  # NewSubfileType of TIFF 6.0
            Image.fromarray(page).save(tiff, "TIFF", tiffinfo={254: kind})
            tiff.newFrame()
    picture = read_image(tmp_path / "in.tif")
    assert picture.pages == (0, 2, 4)
    assert picture.info.frames == 3
    assert picture.notes == ("2 reduced copies or masks in the file are not kept",)
    reader = PhotoReader(tmp_path / "in.tif")
    for _ in range(2):
        frames = list(reader)
        assert [frame.index for frame in frames] == [0, 1, 2]
        assert all(np.array_equal(frame.pixels, pages[i]) for frame, i in zip(frames, (0, 2, 4), strict=True))
        assert len(reader.pages) == 3


def test_pages_are_written_one_by_one_each_with_its_own(tmp_path, lossless):
    deep_grey = np.dstack([lossless[..., 0]] * 3)
    frames = [Frame(lossless), Frame(deep_grey), Frame(lossless[:9].copy(), alpha=gradient_alpha((9, 21)))]
    metas = [ImageMeta("tiff", "RGB", exif_bytes(1), SRGB, (300.0, 300.0)), ImageMeta("tiff", "L"), ImageMeta("tiff")]
    with TiffPages(tmp_path / "out.tif") as pages:
        for frame, meta in zip(frames, metas, strict=True):
            pages.write(frame, meta)
    assert pages.notes == []
    with Image.open(tmp_path / "out.tif") as written:
        assert written.n_frames == 3
        for index, mode in enumerate(("RGB", "L", "RGBA")):
            written.seek(index)
            assert written.mode == mode
            assert np.array_equal(np.asarray(written.convert("RGB")), frames[index].pixels)
            assert written.tag_v2.get(34675) == metas[index].icc
    for index, meta in enumerate(metas):
        again = read_image(tmp_path / "out.tif", index).meta
        assert (again.icc, again.dpi) == (meta.icc, meta.dpi)
    with pytest.raises(OutputError, match="16 bits"), TiffPages(tmp_path / "deep.tif") as pages:
        pages.write(Frame(np.zeros((4, 4, 3), np.uint16)), ImageMeta("tiff"))


def test_of_several_pictures_in_other_formats_the_first_is_read_and_a_note_says_so(tmp_path, lossless):
    first = Image.fromarray(lossless)
    first.save(tmp_path / "in.mpo", save_all=True, append_images=[ImageOps.invert(first)])
    assert read_image(tmp_path / "in.mpo").notes == ("only the first of 2 pictures in the file is used",)


@pytest.mark.parametrize("name", ["a.ppm", "a.pgm", "a.jp2", "grey.jp2"])
def test_16_bits_of_other_formats_are_read(tmp_path, name):
    ramp = np.linspace(0, 65535, 64)
    values = np.dstack([np.add.outer(ramp, ramp) / 2, *np.meshgrid(ramp, ramp)]).astype(np.uint16)
    stored = values[..., 0] if name in ("a.pgm", "grey.jp2") else values
    assert cv2.imwrite(str(tmp_path / name), stored if stored.ndim == 2 else stored[..., ::-1])
    pixels = read_image(tmp_path / name).frame.pixels
    expected = stored if stored.ndim == 3 else np.dstack([stored] * 3)
    assert pixels.dtype == np.uint16
    assert np.abs(pixels.astype(int) - expected).max() <= (400 if name.endswith("jp2") else 0)


@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "rgb"])
def test_the_transparent_colour_of_16_bits_becomes_alpha(tmp_path, channels):
    values = np.arange(6 * channels, dtype=np.uint16).reshape((2, 3, 3)[: 2 + (channels == 3)]) * 3000
    key = values[1, 1].reshape(-1)
    (tmp_path / "in.png").write_bytes(png16(values, chunk(b"tRNS", key.astype(">u2").tobytes())))
    frame = copy(tmp_path / "in.png", tmp_path / "out.png")[0].frame
    expected = np.full((2, 3), 65535)
    expected[1, 1] = 0
    assert np.array_equal(frame.alpha, expected)
    assert np.array_equal(frame.pixels, values if channels == 3 else np.dstack([values] * 3))
    assert np.array_equal(read_image(tmp_path / "out.png").frame.alpha, expected)


def test_bmp_of_16_bits_for_all_channels_is_not_deep(tmp_path):
    rgb = np.random.default_rng(3).integers(0, 256, (4, 6, 3)).astype(np.uint16)
    words = rgb[..., 0] >> 3 << 11 | rgb[..., 1] >> 2 << 5 | rgb[..., 2] >> 3
    body = words[::-1].astype("<u2").tobytes()
    header = struct.pack("<IiiHHIIiiII", 40, 6, 4, 1, 16, 3, len(body), 0, 0, 0, 0)
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    (tmp_path / "in.bmp").write_bytes(b"BM" + struct.pack("<IHHI", 66 + len(body), 0, 0, 66) + header + masks + body)
    pixels = read_image(tmp_path / "in.bmp").frame.pixels
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - rgb).max() < 8


TEN_BIT_AVIF = """
import sys, av
with av.open(sys.argv[1], "w", format="avif") as container:
    stream = container.add_stream("libsvtav1", rate=1)
    stream.height, stream.width, stream.pix_fmt = 120, 84, "yuv420p10le"
    container.mux(stream.encode(av.VideoFrame(84, 120, "yuv420p10le")))
    container.mux(stream.encode(None))
"""


def test_ten_bits_are_told(tmp_path, lossless):
    deep = np.repeat(np.repeat(lossless, 4, 0), 4, 1).astype(np.uint16) * 257
    pillow_heif.from_bytes("RGB;16", (deep.shape[1], deep.shape[0]), deep.tobytes()).save(tmp_path / "a.heic")
    assert read_image(tmp_path / "a.heic").notes == ("10 bits a channel became 8",)
    # In a process of its own: SVT-AV1 gives the process that calls it real-time priority, which starves all others.
    subprocess.run([sys.executable, "-c", TEN_BIT_AVIF, str(tmp_path / "a.avif")], check=True, timeout=60)
    assert read_image(tmp_path / "a.avif").notes == ("10 bits a channel became 8",)


def test_writing_changes_neither_frame_nor_meta(tmp_path, lossless):
    alpha = gradient_alpha(lossless.shape)
    frame, meta = (
        Frame(lossless.copy(), alpha=alpha.copy()),
        ImageMeta("png", "RGBA", exif_bytes(1), SRGB, (72.0, 72.0)),
    )
    write_image(tmp_path / "out.png", frame, meta)
    assert np.array_equal(frame.pixels, lossless)
    assert np.array_equal(frame.alpha, alpha)
