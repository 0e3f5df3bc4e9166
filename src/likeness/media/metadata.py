"""Orientation, EXIF, colour profiles and PNG chunks of still pictures, as pure functions on bytes and arrays."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageCms

from likeness.types import Pixels

_EXIF_PREFIX = b"Exif\x00\x00"
_ORIENTATION = 0x0112
_METRES_PER_INCH = 0.0254


def orient(pixels: Pixels, orientation: int) -> Pixels:
    """Turns stored pixels upright.

    Args:
        pixels: HW or HWC.
        orientation: EXIF tag 0x0112, 1..8 (CIPA DC-008, 4.6.4); any other value counts as 1.

    Returns:
        The upright picture, contiguous; `pixels` itself where nothing is to be done.
    """
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def upright_exif(exif: bytes) -> bytes:
    """The same EXIF block with its orientation set to 1; every other byte (maker notes, GPS) stays.

    Args:
        exif: with or without the leading "Exif\\0\\0"; a block that is no TIFF structure comes back as it is.

    Returns:
        The block with the prefix.
    """
    body = bytearray(exif.removeprefix(_EXIF_PREFIX))
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(bytes(body[:4]))
    if order is not None and len(body) >= 8:
        (start,) = struct.unpack_from(order + "I", body, 4)
        count = struct.unpack_from(order + "H", body, start)[0] if start + 2 <= len(body) else 0
        for entry in range(start + 2, min(start + 2 + 12 * count, len(body) - 11), 12):
            if struct.unpack_from(order + "H", body, entry)[0] == _ORIENTATION:
                struct.pack_into(order + "HIHH", body, entry + 2, 3, 1, 1, 0)  # one SHORT of value 1
    return _EXIF_PREFIX + bytes(body)


def profile_space(icc: bytes) -> str:
    """The colour space that an ICC profile describes: "RGB", "GRAY", "CMYK" ... (ICC.1:2022, 7.2.6)."""
    return icc[16:20].decode("ascii", "replace").strip()


def convert_to_srgb(image: Image.Image, icc: bytes | None) -> tuple[Image.Image, bytes]:
    """Converts a CMYK or Lab picture to sRGB.

    Args:
        image: mode "CMYK" or "LAB".
        icc: its profile; a CMYK picture without one goes by the plain subtractive formula.

    Returns:
        The picture in mode "RGB" and the sRGB profile.

    Raises:
        ImageCms.PyCMSError: the profile cannot be used.
    """
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    if image.mode == "LAB":
        source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    elif icc is not None and profile_space(icc) == "CMYK":
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    else:
        return image.convert("RGB"), srgb.tobytes()
    transform = ImageCms.buildTransform(source, srgb, image.mode, "RGB")
    converted = ImageCms.applyTransform(image, transform)
    if converted is None:  # only for inPlace=True, which we do not ask for
        raise ImageCms.PyCMSError("the conversion gave no picture")
    return converted, srgb.tobytes()


def add_png_chunks(
    png: bytes,
    icc: bytes | None = None,
    exif: bytes | None = None,
    dpi: tuple[float, float] | None = None,
    xmp: bytes | None = None,
    iptc: bytes | None = None,
    texts: Sequence[tuple[str, str]] = (),
) -> bytes:
    """Puts metadata into a PNG that has none (PNG specification, 11.3; XMP part 3, 1.1.5; IPTC as ImageMagick does)."""
    chunks = b""
    if icc is not None:
        chunks += png_chunk(b"iCCP", b"ICC Profile\x00\x00" + zlib.compress(icc))
    if dpi is not None:
        x, y = (round(value / _METRES_PER_INCH) for value in dpi)
        chunks += png_chunk(b"pHYs", struct.pack(">IIB", x, y, 1))
    if exif is not None:
        chunks += png_chunk(b"eXIf", exif.removeprefix(_EXIF_PREFIX))
    if xmp is not None:
        chunks += png_chunk(b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + xmp)
    if iptc is not None:
        body = photoshop_block(iptc)
        profile = f"\niptc\n{len(body):8}\n{body.hex()}\n".encode()
        chunks += png_chunk(b"zTXt", b"Raw profile type iptc\x00\x00" + zlib.compress(profile))
    for key, text in texts:
        packed = zlib.compress(text.encode("utf-8", "replace"))
        chunks += png_chunk(b"iTXt", key.encode("latin-1", "replace")[:79] + b"\x00\x01\x00\x00\x00" + packed)
    return after_header(png, chunks)


def after_header(png: bytes, chunks: bytes) -> bytes:
    """Puts whole chunks behind a PNG's first one."""
    end_of_header = 8 + 25  # signature, IHDR
    return png[:end_of_header] + chunks + png[end_of_header:]


def png_chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and data of every chunk of a PNG."""
    at = 8
    while at + 8 <= len(png):
        (size,) = struct.unpack_from(">I", png, at)
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        at += 12 + size


def photoshop_block(iptc: bytes) -> bytes:
    """IPTC-IIM records as an image resource block of Photoshop, in which JPEG and PNG keep them."""
    return b"8BIM\x04\x04\x00\x00" + struct.pack(">I", len(iptc)) + iptc + bytes(len(iptc) % 2)


def app13_segment(iptc: bytes) -> bytes:
    """IPTC-IIM records as a JPEG marker segment."""
    body = b"Photoshop 3.0\x00" + photoshop_block(iptc)
    return b"\xff\xed" + struct.pack(">H", len(body) + 2) + body


def iptc_of_raw_profile(text: str) -> bytes | None:
    """IPTC-IIM records from the PNG text "Raw profile type iptc"; None for anything else."""
    try:
        name, _, digits = text.strip().partition("\n")
        data = bytes.fromhex("".join(digits.split()[1:])) if name in ("iptc", "8bim") else b""
    except ValueError:
        return None
    at = data.find(b"8BIM\x04\x04")
    if at >= 0:
        start = at + 7 + (data[at + 6] | 1) if at + 6 < len(data) else len(data)  # after the padded name
        (size,) = struct.unpack(">I", data[start : start + 4].rjust(4, b"\x00"))
        return data[start + 4 : start + 4 + size] or None
    return data if data[:1] == b"\x1c" else None


def png_chunk(name: bytes, data: bytes) -> bytes:
    """A PNG chunk with its length and checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
