"""Photos: read upright in RGB, and written to the same kind of file with profile, EXIF, resolution and alpha."""

from __future__ import annotations

import io
import math
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pillow_heif
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from likeness.errors import InputError, OutputError
from likeness.media.files import require_file
from likeness.media.metadata import add_png_chunks, convert_to_srgb, orient, profile_space, upright_exif
from likeness.media.naming import ALPHA_FORMATS, DEEP_FORMATS, PHOTO_FORMATS
from likeness.types import Frame, MediaInfo, Pixels

pillow_heif.register_heif_opener()

_GREY_MODES = frozenset({"1", "L", "LA", "La", "I;16", "I;16B", "I;16L"})
_EXIF_LIMIT = 65533  # bytes in one JPEG marker segment
# What TIFF keeps as tags of the picture itself and other formats in an EXIF block.
_TIFF_TAGS = ("ImageDescription", "Make", "Model", "Software", "DateTime", "Artist", "Copyright")
# TIFF stays uncompressed: libtiff, which would compress it, refuses EXIF folders.
_ENCODER_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": "4:4:4", "optimize": True},
    "WEBP": {"quality": 95},
    "AVIF": {"quality": 90, "subsampling": "4:4:4"},
}


@dataclass(frozen=True, slots=True)
class ImageMeta:
    """What a photo carries beside its pixels.

    Attributes:
        format: "jpeg", "png", ... by content, not by name.
        mode: Pillow's mode of the stored picture ("L", "LA", "P", "RGBA", "CMYK", ...).
        exif: EXIF block beginning with "Exif\\0\\0", its orientation already applied and set to 1.
        icc: profile of the pixels as they were read.
        dpi: horizontal and vertical resolution.
    """

    format: str = "png"
    mode: str = "RGB"
    exif: bytes | None = None
    icc: bytes | None = None
    dpi: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """A photo as read.

    Attributes:
        frame: upright RGB pixels, uint8, or uint16 where the file has 16 bits; alpha where the file has it.
        info: size and format.
        meta: what the result keeps.
        notes: for a person, what reading changed.
    """

    frame: Frame
    info: MediaInfo
    meta: ImageMeta
    notes: tuple[str, ...] = ()


def read_image(path: str | Path) -> Picture:
    """Reads a photo upright, in RGB.

    Grey is repeated into three channels, palettes are resolved, CMYK and Lab are converted to sRGB. Of several pages
    the first is read, and a note says so. JPEG, PNG, WebP, TIFF, BMP, AVIF and HEIC are read.

    Raises:
        InputError: missing, empty, unknown, truncated, far too large, or deeper than 16 bits.
    """
    path = Path(path)
    require_file(path)
    try:
        with Image.open(path) as image:
            return _read(image, path)
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: claims more pixels than Pillow's limit for safety ({error}); reduce it") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{path}: is no photo that can be read; convert it to PNG or JPEG") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, ImageCms.PyCMSError) as error:
        raise InputError(f"{path}: is damaged or incomplete ({error}); get or export it again") from error


def _read(image: Image.Image, path: Path) -> Picture:
    notes: list[str] = []
    pages = getattr(image, "n_frames", 1)
    if pages > 1:
        notes.append(f"only the first of {pages} pictures in the file is used")
    deep = image.mode.startswith("I;16") or any(";16" in str(tile.args) for tile in getattr(image, "tile", ()))
    image.load()  # raises on truncated files, which OpenCV would fill up with grey
    if image.mode in ("I", "F"):
        raise InputError(f"{path}: has 32 bits a channel, expected 8 or 16; convert it to 16 bits")
    # Read after loading: Pillow turns TIFF and HEIC upright and drops the tag.
    orientation = int(image.getexif().get(ExifTags.Base.Orientation, 1))
    icc = image.info.get("icc_profile") or None
    name = (image.format or "").lower()
    meta = ImageMeta({"mpo": "jpeg", "heif": "heic"}.get(name, name), image.mode, _exif_of(image), icc, _dpi_of(image))
    if image.mode in ("CMYK", "LAB"):
        image, srgb = convert_to_srgb(image, icc)
        meta = replace(meta, icc=srgb)
        notes.append(f"{meta.mode} was converted to sRGB")
    pixels, alpha = _decode_deep(path) if deep else _split(image)
    frame = Frame(orient(pixels, orientation), alpha=None if alpha is None else orient(alpha, orientation))
    height, width = frame.pixels.shape[:2]
    return Picture(frame, MediaInfo("photo", width, height, format=meta.format), meta, tuple(notes))


def _split(image: Image.Image) -> tuple[Pixels, Pixels | None]:
    if image.has_transparency_data:
        rgba = np.array(image.convert("RGBA"))
        return rgba[..., :3], rgba[..., 3]
    return np.array(image.convert("RGB")), None


def _decode_deep(path: Path) -> tuple[Pixels, Pixels | None]:
    """16 bits a channel, which Pillow would cut to 8 in colour."""
    stored = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if stored is None or stored.dtype != np.uint16:
        raise InputError(f"{path}: its 16-bit pixels cannot be decoded; convert it to a 16-bit PNG")
    if stored.ndim == 2:
        return cv2.cvtColor(stored, cv2.COLOR_GRAY2RGB), None
    if stored.shape[2] == 4:
        return cv2.cvtColor(stored, cv2.COLOR_BGRA2RGB), stored[..., 3]
    return cv2.cvtColor(stored, cv2.COLOR_BGR2RGB), None


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


def write_image(path: str | Path, frame: Frame, meta: ImageMeta) -> tuple[str, ...]:
    """Writes a photo in the format that the suffix of `path` names.

    Grey sources stay one channel as long as the pixels are grey; JPEG is written at quality 95 without
    chroma subsampling. Nothing appears at `path` when encoding fails; see `files.atomic_output` for the rest.

    Args:
        path: .jpg, .png, .webp, .tif, .bmp or .avif.
        frame: uint8, or uint16 for PNG only.
        meta: from `read_image`; EXIF, profile and resolution are written.

    Returns:
        For a person, what of `meta` the format could not keep.

    Raises:
        OutputError: the format is unknown or cannot hold the pixels, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in PHOTO_FORMATS:
        suffixes = " ".join(sorted(PHOTO_FORMATS))
        raise OutputError(f"{path}: photos are written as {suffixes}; choose one of these suffixes")
    format = PHOTO_FORMATS[path.suffix.lower()]
    if frame.pixels.dtype == np.uint16 and format not in DEEP_FORMATS:
        raise OutputError(f"{path}: 16 bits a channel fit into PNG only; give the output the suffix .png")
    if frame.alpha is not None:
        if format not in ALPHA_FORMATS:
            raise OutputError(f"{path}: {format} has no alpha channel, the picture has; write .png or .webp")
        if frame.alpha.shape != frame.pixels.shape[:2] or frame.alpha.dtype != frame.pixels.dtype:
            raise OutputError(
                f"{path}: alpha is {frame.alpha.shape} {frame.alpha.dtype}, expected {frame.pixels.shape[:2]} "
                f"{frame.pixels.dtype} like the pixels; resize it along with them"
            )
    notes: list[str] = []
    grey = meta.mode in _GREY_MODES and _is_grey(frame.pixels)
    icc = meta.icc
    if icc is not None and not grey and profile_space(icc) == "GRAY":
        icc = None
        notes.append("the profile for grey pictures was left out, as the result has colour")
    exif = meta.exif
    if exif is not None and (format == "BMP" or (format == "JPEG" and len(exif) > _EXIF_LIMIT)):
        exif = None
        notes.append(f"EXIF was left out: {format} cannot hold it")
    if icc is not None and format == "BMP":
        icc = None
        notes.append("the colour profile was left out: BMP cannot hold it")
    try:
        if frame.pixels.dtype == np.uint16:
            data = add_png_chunks(_encode_deep(frame, grey), icc, exif, meta.dpi)
        else:
            data = _encode(frame, grey, format, icc, exif, meta.dpi)
        path.write_bytes(data)
    except (OSError, ValueError, RuntimeError, cv2.error) as error:
        raise OutputError(
            f"{path}: cannot be written ({error}); check the folder, the free space and the size"
        ) from error
    return tuple(notes)


def _is_grey(pixels: Pixels) -> bool:
    red = pixels[..., 0]
    return bool(np.array_equal(red, pixels[..., 1]) and np.array_equal(red, pixels[..., 2]))


def _encode(
    frame: Frame, grey: bool, format: str, icc: bytes | None, exif: bytes | None, dpi: tuple[float, float] | None
) -> bytes:
    image = Image.fromarray(np.ascontiguousarray(frame.pixels[..., 0] if grey else frame.pixels))
    if frame.alpha is not None:
        image.putalpha(Image.fromarray(np.ascontiguousarray(frame.alpha)))
    metadata = {"icc_profile": icc, "exif": exif, "dpi": dpi}
    options = _ENCODER_OPTIONS.get(format, {}) | {name: value for name, value in metadata.items() if value is not None}
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


def _encode_deep(frame: Frame, grey: bool) -> bytes:
    if frame.alpha is not None:
        stored = cv2.cvtColor(np.dstack([frame.pixels, frame.alpha]), cv2.COLOR_RGBA2BGRA)
    else:
        stored = frame.pixels[..., 0] if grey else cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".png", stored)
    if not done:
        raise ValueError("OpenCV refused the picture")
    return data.tobytes()
