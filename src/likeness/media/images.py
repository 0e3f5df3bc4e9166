"""Photos are read upright and in RGB, with all that they carry beside their pixels; image_writer.py writes them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import TiffImageFile

from likeness.errors import InputError
from likeness.media.attachments import Attachments, attachments_of
from likeness.media.decoding import decoding
from likeness.media.depth import stored_bits
from likeness.media.files import require_file
from likeness.media.metadata import convert_to_srgb, orient, upright_exif
from likeness.types import Frame, MediaInfo, Pixels

pillow_heif.register_heif_opener()

_SUBFILE_TYPE, _RESOLUTION, _ICC = 254, 282, 34675  # tags of TIFF
# What TIFF keeps as tags of the picture itself and other formats in an EXIF block.
_TIFF_TAGS = ("ImageDescription", "Make", "Model", "Software", "DateTime", "Artist", "Copyright")


@dataclass(frozen=True, slots=True)
class ImageMeta:
    """What a photo carries beside its pixels.

    Attributes:
        format: "jpeg", "png", ... by content, not by name.
        mode: Pillow's mode of the stored picture ("L", "LA", "P", "RGBA", "CMYK", ...).
        exif: EXIF block beginning with "Exif\\0\\0", its orientation already applied and set to 1.
        icc: profile of the pixels as they were read.
        dpi: horizontal and vertical resolution.
        attached: XMP, IPTC and texts.
    """

    format: str = "png"
    mode: str = "RGB"
    exif: bytes | None = None
    icc: bytes | None = None
    dpi: tuple[float, float] | None = None
    attached: Attachments = field(default_factory=Attachments)


@dataclass(frozen=True, slots=True)
class Picture:
    """A photo as read.

    Attributes:
        frame: upright RGB pixels, uint8, or uint16 where the file has 16 bits; alpha where the file has it.
        info: size and format.
        meta: what the result keeps.
        notes: for a person, what reading changed or left out.
        pages: positions in the file of the pages of a TIFF, this one included; (0,) for all other formats.
    """

    frame: Frame
    info: MediaInfo
    meta: ImageMeta
    notes: tuple[str, ...] = ()
    pages: tuple[int, ...] = (0,)


def read_image(path: str | Path, page: int | None = None) -> Picture:
    """Reads a photo upright, in RGB.

    Grey is repeated into three channels, palettes are resolved, CMYK and Lab are converted to sRGB. JPEG, PNG, WebP,
    TIFF, BMP, AVIF, HEIC, JPEG 2000 and PNM are read.

    Args:
        path: the file.
        page: position of a TIFF's page, one of `Picture.pages`; None = the first of them.

    Raises:
        InputError: missing, empty, unknown, damaged, far too large, or deeper than 16 bits.
    """
    path = Path(path)
    require_file(path)
    with decoding(path), Image.open(path) as image:
        return _read(image, path, page)


def _pages_of(image: Image.Image, notes: list[str]) -> tuple[int, ...]:
    """The pages of a TIFF without reduced copies and masks (TIFF 6.0, NewSubfileType); else the first picture."""
    count = getattr(image, "n_frames", 1)
    if count == 1 or not isinstance(image, TiffImageFile):
        if count > 1:
            notes.append(f"only the first of {count} pictures in the file is used")
        return (0,)
    pages = []
    for page in range(count):
        image.seek(page)
        if not int(image.tag_v2.get(_SUBFILE_TYPE, 0)) & 0b101:
            pages.append(page)
    if pages and len(pages) < count:
        notes.append(f"{count - len(pages)} reduced copies or masks in the file are not kept")
    return tuple(pages) or (0,)


def _read(image: Image.Image, path: Path, page: int | None) -> Picture:
    notes: list[str] = []
    pages = _pages_of(image, notes)
    if isinstance(image, TiffImageFile):
        image.seek(pages[0] if page is None else page)
    bits = stored_bits(image, path.read_bytes())
    deep = bits == 16
    if 8 < bits < 16:
        notes.append(f"{bits} bits a channel became 8")
    if deep and len(pages) > 1:
        raise InputError(f"{path}: has {len(pages)} pages of 16 bits a channel; split it, or convert it to 8 bits")
    image.load()  # raises on truncated files, which OpenCV would fill up with grey
    if image.mode in ("I", "F") and not deep:
        raise InputError(f"{path}: has 32 bits a channel, expected 8 or 16; convert it to 16 bits")
    # Read after loading: Pillow turns TIFF and HEIC upright and drops the tag.
    orientation = int(image.getexif().get(ExifTags.Base.Orientation, 1))
    meta, lost = meta_of(image, path)
    notes += lost
    icc = meta.icc
    if image.mode in ("CMYK", "LAB"):
        image, srgb = convert_to_srgb(image, icc)
        meta = replace(meta, icc=srgb)
        notes.append(f"{meta.mode} was converted to sRGB")
    pixels, alpha = _decode_deep(path, image.info.get("transparency")) if deep else _split(image)
    frame = Frame(orient(pixels, orientation), alpha=None if alpha is None else orient(alpha, orientation))
    height, width = frame.pixels.shape[:2]
    info = MediaInfo("photo", width, height, frames=len(pages), format=meta.format)
    return Picture(frame, info, meta, tuple(notes), pages)


def meta_of(image: Image.Image, path: Path | None = None) -> tuple[ImageMeta, list[str]]:
    """What a loaded picture carries beside its pixels.

    Args:
        image: as Pillow opened it.
        path: of the file, which is searched for parts that the result does not hold; None: it has no such parts.

    Returns:
        The metadata, and for a person what the result will not hold.
    """
    attached, lost = attachments_of(image, path)
    name = (image.format or "").lower()
    format = {"mpo": "jpeg", "heif": "heic"}.get(name, name)
    icc = image.info.get("icc_profile") or None
    if isinstance(image, TiffImageFile):  # of whose first page Pillow keeps profile and resolution for the others
        icc = image.tag_v2.get(_ICC)
        if _RESOLUTION not in image.tag_v2:
            image.info.pop("dpi", None)
    return ImageMeta(format, image.mode, _exif_of(image), icc, _dpi_of(image), attached), lost


def _split(image: Image.Image) -> tuple[Pixels, Pixels | None]:
    if image.has_transparency_data:
        rgba = np.array(image.convert("RGBA"))
        return rgba[..., :3], rgba[..., 3]
    return np.array(image.convert("RGB")), None


def _decode_deep(path: Path, transparent: object = None) -> tuple[Pixels, Pixels | None]:
    """16 bits a channel, which Pillow would cut to 8 in colour; `transparent` is the one colour that a PNG hides."""
    stored = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if stored is None or stored.dtype != np.uint16:
        raise InputError(f"{path}: its 16-bit pixels cannot be decoded; convert it to a 16-bit PNG")
    if stored.ndim == 3 and stored.shape[2] == 4:
        return cv2.cvtColor(stored, cv2.COLOR_BGRA2RGB), stored[..., 3]
    pixels = cv2.cvtColor(stored, cv2.COLOR_GRAY2RGB if stored.ndim == 2 else cv2.COLOR_BGR2RGB)
    if not isinstance(transparent, int | tuple):
        return pixels, None
    hidden = (pixels == np.array(transparent)).all(-1)
    return pixels, np.where(hidden, 0, 65535).astype(np.uint16)


def _exif_of(image: Image.Image) -> bytes | None:
    raw = image.info.get("exif")
    if isinstance(raw, bytes) and raw:
        return upright_exif(raw)
    tags = image.getexif()  # TIFF's own tags, or EXIF that older programs hid in a PNG text
    kept = Image.Exif()
    for name in _TIFF_TAGS:
        tag = ExifTags.Base[name]
        if tag in tags:
            kept[tag] = tags[tag]
    for folder in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        if entries := tags.get_ifd(folder):
            kept.get_ifd(folder).update(entries)
            kept[folder] = kept.get_ifd(folder)
    return upright_exif(kept.tobytes()) if len(kept) else None


def _dpi_of(image: Image.Image) -> tuple[float, float] | None:
    dpi = image.info.get("dpi")
    if dpi is None:
        return None
    x, y = float(dpi[0]), float(dpi[1])
    return (x, y) if math.isfinite(x) and math.isfinite(y) and x > 0 and y > 0 else None
