"""XMP, IPTC, comments and texts come through every format that holds them; what does not is told."""

from __future__ import annotations

import hashlib
import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, IptcImagePlugin, PngImagePlugin

from likeness.media.attachments import Attachments
from likeness.media.image_writer import write_image
from likeness.media.images import ImageMeta, read_image
from likeness.media.metadata import iptc_of_raw_profile
from likeness.media.xmp import FILM, GAIN_MAP, SOURCE_TYPE
from likeness.types import Frame

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XMP = (
    f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"><rdf:Description rdf:about="" '
    'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="5"/></rdf:RDF></x:xmpmeta>'
).encode()
CAPTION = b"Grandmother, June 1962"
IPTC = b"\x1c\x02\x78" + struct.pack(">H", len(CAPTION)) + CAPTION  # record 2, data set 120 (IPTC-IIM 4.2)
COMMENT = "scanned by größe"


def with_everything(path: Path, pixels: np.ndarray) -> None:
    """A file with XMP, IPTC and a comment, as far as its format has them, not written by the package."""
    image, suffix = Image.fromarray(pixels), path.suffix
    if suffix == ".jpg":
        block = b"Photoshop 3.0\x008BIM\x04\x04\x00\x00" + struct.pack(">I", len(IPTC)) + IPTC + bytes(len(IPTC) % 2)
        segment = b"\xff\xed" + struct.pack(">H", len(block) + 2) + block
        image.save(path, quality=100, subsampling=0, xmp=XMP, comment=COMMENT.encode(), extra=segment)
    elif suffix == ".png":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        info.add_text("Comment", COMMENT)
        info.add_text("Author", "A. Nonymous", zip=True)
        info.add_text("Raw profile type iptc", f"\niptc\n{len(IPTC):8}\n{IPTC.hex()}\n", zip=True)
        image.save(path, pnginfo=info)
    elif suffix == ".tif":
        image.save(path, tiffinfo={700: XMP, 33723: IPTC, 270: COMMENT.replace("ö", "oe").replace("ß", "ss")})
    else:
        image.save(path, xmp=XMP)


def iptc_in(image: Image.Image) -> bytes | None:
    return (IptcImagePlugin.getiptcinfo(image) or {}).get((2, 120))


def xmp_in(image: Image.Image) -> bytes:
    xmp = image.info.get("xmp", b"")
    return xmp.encode() if isinstance(xmp, str) else xmp


@pytest.mark.parametrize("label", [False, True])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_what_describes_a_photo_is_kept(suffix, label, tmp_path, portrait):
    source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    with_everything(source, portrait)
    picture = read_image(source)
    before = picture.frame.pixels.copy()
    assert write_image(target, picture.frame, picture.meta, label) == ()
    assert picture.notes == ()
    assert np.array_equal(picture.frame.pixels, before)
    with Image.open(target) as written:
        written.load()
        assert (xmp_in(written) == XMP) is not label
        assert b'xmp:Rating="5"' in xmp_in(written)
        assert (SOURCE_TYPE.encode() in xmp_in(written)) is label
        if suffix in (".jpg", ".tif"):
            assert iptc_in(written) == CAPTION
        if suffix == ".jpg":
            assert written.info["comment"] == COMMENT.encode()
        if suffix == ".png":
            assert written.text["Author"] == "A. Nonymous"
            assert written.text["Comment"] == COMMENT
            assert read_image(target).meta.attached.iptc == IPTC
        if suffix == ".tif":
            assert written.tag_v2[270] == "scanned by groesse"  # TIFF's texts are ASCII


def test_the_label_changes_no_pixel(tmp_path, portrait):
    for suffix in (".jpg", ".png", ".webp", ".tif", ".avif"):
        sums = set()
        for label in (False, True):
            write_image(tmp_path / f"a{suffix}", Frame(portrait), ImageMeta(), label)
            with Image.open(tmp_path / f"a{suffix}") as image:
                sums.add(hashlib.sha256(image.tobytes()).hexdigest())
        assert len(sums) == 1


LOST = {
    ".jpg": [], ".png": [], ".tif": [],
    ".webp": ["IPTC data", "the comment"],
    ".avif": ["IPTC data", "the comment"],
    ".bmp": ["XMP", "IPTC data", "the comment"],
}  # fmt: skip


@pytest.mark.parametrize("suffix", LOST)
def test_what_another_format_cannot_hold_is_told(suffix, tmp_path, portrait):
    with_everything(tmp_path / "in.jpg", portrait)
    picture = read_image(tmp_path / "in.jpg")
    notes = write_image(tmp_path / f"out{suffix}", picture.frame, picture.meta)
    format = {".webp": "WEBP", ".avif": "AVIF", ".bmp": "BMP"}.get(suffix)
    assert list(notes) == [f"{name} was left out: {format} cannot hold it" for name in LOST[suffix]]


def test_a_comment_that_is_no_utf8_stays_byte_for_byte(tmp_path, portrait):
    Image.fromarray(portrait).save(tmp_path / "in.jpg", comment=b"gr\xf6\xdfe")
    picture = read_image(tmp_path / "in.jpg")
    write_image(tmp_path / "out.jpg", picture.frame, picture.meta)
    with Image.open(tmp_path / "out.jpg") as written:
        assert written.info["comment"] == b"gr\xf6\xdfe"
    write_image(tmp_path / "out.png", picture.frame, picture.meta)
    with Image.open(tmp_path / "out.png") as written:
        assert written.text["Comment"] == "gr??e"


def test_an_xmp_that_is_too_long_for_jpeg_leaves_the_label(tmp_path, portrait):
    long = XMP.replace(b'xmp:Rating="5"', b'xmp:Rating="5" xmp:Nickname="' + b"n" * 65_200 + b'"')
    meta = ImageMeta(attached=Attachments(xmp=long))
    assert write_image(tmp_path / "a.jpg", Frame(portrait), meta) == ()
    notes = write_image(tmp_path / "a.jpg", Frame(portrait), meta, label=True)
    assert notes == ("XMP was left out but the label: it is too long for JPEG",)
    with Image.open(tmp_path / "a.jpg") as written:
        assert SOURCE_TYPE.encode() in written.info["xmp"]
    assert write_image(tmp_path / "a.png", Frame(portrait), meta, label=True) == ()


def jpeg(pixels: np.ndarray, **options: object) -> bytes:
    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, "JPEG", **options)
    return stored.getvalue()


def test_the_film_of_a_motion_photo_is_told_and_nothing_points_at_it(tmp_path, portrait):
    film = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00isommp42" + bytes(500)
    pointer = XMP.replace(b'xmp:Rating="5"', b'xmp:Rating="5" xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" '
                          b'GCamera:MotionPhoto="1" GCamera:MicroVideoOffset="%d"' % len(film))  # fmt: skip
    (tmp_path / "a.jpg").write_bytes(jpeg(portrait, xmp=pointer) + film)
    (tmp_path / "bare.jpg").write_bytes(jpeg(portrait) + film)
    (tmp_path / "samsung.jpg").write_bytes(jpeg(portrait) + bytes(99) + b"MotionPhoto_Data" + bytes(99))
    for name in ("a", "bare", "samsung"):
        assert read_image(tmp_path / f"{name}.jpg").notes == (FILM,)
    picture = read_image(tmp_path / "a.jpg")
    write_image(tmp_path / "b.jpg", picture.frame, picture.meta)
    data = (tmp_path / "b.jpg").read_bytes()
    assert b"MotionPhoto" not in data
    assert b"MicroVideo" not in data
    assert b'xmp:Rating="5"' in data
    assert b"ftyp" not in data


def test_gain_maps_are_told(tmp_path, portrait):
    iso = b"urn:iso:std:iso:ts:21496:-1\x00\x00\x00\x00\x00"
    (tmp_path / "a.jpg").write_bytes(jpeg(portrait, extra=b"\xff\xe2" + struct.pack(">H", len(iso) + 2) + iso))
    assert read_image(tmp_path / "a.jpg").notes == (GAIN_MAP,)


def test_damaged_xmp_is_told_and_left_out(tmp_path, portrait):
    Image.fromarray(portrait).save(tmp_path / "a.webp", xmp=XMP[:90])
    picture = read_image(tmp_path / "a.webp")
    (note,) = picture.notes
    assert note.startswith("XMP was left out: it is damaged (")
    assert picture.meta.attached.xmp is None


@pytest.mark.parametrize("name", [b"", b"ab", b"abc"])
def test_iptc_is_found_in_image_magicks_block(name):
    padded = bytes([len(name)]) + name + bytes((len(name) + 1) % 2)
    block = b"8BIM\x04\x04" + padded + struct.pack(">I", len(IPTC)) + IPTC + bytes(len(IPTC) % 2)
    digits = "\n".join(block.hex()[at : at + 72] for at in range(0, 2 * len(block), 72))
    assert iptc_of_raw_profile(f"\n8bim\n{len(block):8}\n{digits}\n") == IPTC
    assert iptc_of_raw_profile("\niptc\n 3\nzz") is None
    assert iptc_of_raw_profile("") is None
