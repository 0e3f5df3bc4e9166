"""Photos are written to the kind of file that they came from, with all that they carried beside their pixels."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import AppendingTiffWriter

from likeness.errors import OutputError, one_line
from likeness.media.images import ImageMeta
from likeness.media.metadata import add_png_chunks, after_header, app13_segment, png_chunk, profile_space
from likeness.media.naming import ALPHA_FORMATS, DEEP_FORMATS, PHOTO_FORMATS
from likeness.media.xmp import labelled
from likeness.types import Frame, Pixels

_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L"})
_EXIF_LIMIT = 65533  # bytes in one JPEG marker segment
_SEGMENT_ROOM = 65533 - 29  # bytes of XMP or IPTC in a segment, beside its name
_XMP_TAG, _IPTC_TAG = 700, 33723  # of TIFF
# TIFF stays uncompressed: libtiff, which would compress it, refuses EXIF folders.
_ENCODER_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": "4:4:4", "optimize": True},
    "WEBP": {"quality": 95},
    "AVIF": {"quality": 90, "subsampling": "4:4:4"},
}
_HOLDS = {  # beside the pixels
    "JPEG": {"exif", "icc", "xmp", "iptc", "comment"},
    "PNG": {"exif", "icc", "xmp", "iptc", "comment", "texts", "colour"},
    "WEBP": {"exif", "icc", "xmp"},
    "TIFF": {"exif", "icc", "xmp", "iptc", "comment"},
    "BMP": set(),
    "AVIF": {"exif", "icc", "xmp"},
}
_CALLED = {
    "exif": "EXIF", "icc": "the colour profile", "xmp": "XMP", "iptc": "IPTC data", "comment": "the comment",
    "texts": "PNG texts", "colour": "the colour space of the PNG",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Metadata:
    """What is written beside the pixels."""

    exif: bytes | None
    icc: bytes | None
    xmp: bytes | None
    iptc: bytes | None
    comment: str | None
    texts: tuple[tuple[str, str], ...]
    colour: tuple[tuple[bytes, bytes], ...]
    dpi: tuple[float, float] | None


def write_image(path: str | Path, frame: Frame, meta: ImageMeta, label: bool = False) -> tuple[str, ...]:
    """Writes a photo in the format that the suffix of `path` names.

    Grey sources stay one channel as long as the pixels are grey; JPEG is written at quality 95 without
    chroma subsampling. Nothing appears at `path` when encoding fails; see `files.atomic_output` for the rest.

    Args:
        path: .jpg, .png, .webp, .tif, .bmp or .avif.
        frame: uint8, or uint16 for PNG only.
        meta: from `read_image`; EXIF, XMP, IPTC, texts, profile and resolution are written.
        label: whether the XMP says that a network made part of the picture, see `xmp.labelled`.

    Returns:
        For a person, what of `meta` the format could not keep.

    Raises:
        OutputError: the format is unknown or cannot hold the pixels, or the file cannot be written.
    """
    path = Path(path)
    format = _format_for(path, frame)
    notes: list[str] = []
    grey, metadata = _prepared(frame, meta, format, label, notes)
    try:
        if format == "PNG":
            pixels = _encode_deep(frame, grey) if frame.pixels.dtype == np.uint16 else _encode(_image(frame, grey), {})
            data = _png(pixels, metadata)
        else:
            data = _encode(_image(frame, grey), {"format": format} | _options(format, metadata))
        path.write_bytes(data)
    except (OSError, ValueError, RuntimeError, cv2.error) as error:
        raise _unwritable(path, error) from error
    return tuple(notes)


class TiffPages:
    """Writes a TIFF of several pages, one after the other; memory holds one.

    Args:
        path: .tif or .tiff; an existing file is replaced.

    Attributes:
        notes: for a person, what the format could not keep.

    Raises:
        OutputError: the file cannot be written, or a page has more than 8 bits a channel.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.notes: list[str] = []

    def __enter__(self) -> Self:
        try:
            self._pages = AppendingTiffWriter(self.path, new=True)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        return self

    def write(self, frame: Frame, meta: ImageMeta, label: bool = False) -> None:
        """Appends a page, see `write_image`."""
        _format_for(self.path, frame)
        notes: list[str] = []
        grey, metadata = _prepared(frame, meta, "TIFF", label, notes)
        self.notes.extend(note for note in notes if note not in self.notes)
        try:
            _image(frame, grey).save(self._pages, format="TIFF", **_options("TIFF", metadata))
            self._pages.newFrame()
        except (OSError, ValueError, RuntimeError) as error:
            raise _unwritable(self.path, error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._pages.close()
        except (OSError, ValueError, RuntimeError) as failed:
            if error is None:  # else the first error is raised
                raise _unwritable(self.path, failed) from failed


def _unwritable(path: Path, error: Exception) -> OutputError:
    return OutputError(f"{path}: cannot be written ({one_line(error)}); check the folder, the free space and the size")


def _format_for(path: Path, frame: Frame) -> str:
    """Pillow's name of the format, which holds the frame."""
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
    return format


def _prepared(frame: Frame, meta: ImageMeta, format: str, label: bool, notes: list[str]) -> tuple[bool, _Metadata]:
    """Whether one channel is written, and the metadata that the format holds; `notes` gets what it does not."""
    grey = meta.mode in _GREY_MODES and _is_grey(frame.pixels)
    attached = meta.attached
    texts = tuple(text for text in attached.texts if format == "PNG" or text[0] != "Comment")
    wanted: dict[str, Any] = {
        "exif": meta.exif, "icc": meta.icc, "xmp": attached.xmp, "iptc": attached.iptc, "comment": attached.comment,
        "texts": texts, "colour": attached.colour,
    }  # fmt: skip
    if wanted["icc"] is not None and not grey and profile_space(wanted["icc"]) == "GRAY":
        wanted["icc"] = None
        notes.append("the profile for grey pictures was left out, as the result has colour")
    if label and "xmp" in _HOLDS[format]:
        wanted["xmp"] = labelled(attached.xmp)
        if format == "JPEG" and len(wanted["xmp"]) > _SEGMENT_ROOM and attached.xmp is not None:
            wanted["xmp"] = labelled(None)
            notes.append("XMP was left out but the label: it is too long for JPEG")
    for name, value in wanted.items():
        limit = {"exif": _EXIF_LIMIT, "xmp": _SEGMENT_ROOM, "iptc": _SEGMENT_ROOM}.get(name)
        too_long = format == "JPEG" and limit is not None and len(value or b"") > limit
        if value and (name not in _HOLDS[format] or too_long):
            wanted[name] = () if isinstance(value, tuple) else None
            notes.append(f"{_CALLED[name]} was left out: {format} cannot hold it")
    return grey, _Metadata(**wanted, dpi=meta.dpi)


def _is_grey(pixels: Pixels) -> bool:
    red = pixels[..., 0]
    return bool(np.array_equal(red, pixels[..., 1]) and np.array_equal(red, pixels[..., 2]))


def _image(frame: Frame, grey: bool) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(frame.pixels[..., 0] if grey else frame.pixels))
    if frame.alpha is not None:
        image.putalpha(Image.fromarray(np.ascontiguousarray(frame.alpha)))
    return image


def _options(format: str, metadata: _Metadata) -> dict[str, Any]:
    """Arguments of Pillow's `save`."""
    options: dict[str, Any] = {"icc_profile": metadata.icc, "dpi": metadata.dpi}
    if format == "TIFF":
        options["exif"] = _tiff_tags(metadata)
    else:
        options |= {"exif": metadata.exif, "xmp": metadata.xmp}
    if format == "JPEG":
        options["comment"] = metadata.comment and metadata.comment.encode("utf-8", "surrogateescape")
        options["extra"] = metadata.iptc and app13_segment(metadata.iptc)
    return _ENCODER_OPTIONS.get(format, {}) | {name: value for name, value in options.items() if value is not None}


def _tiff_tags(metadata: _Metadata) -> Image.Exif | None:
    tags = Image.Exif()
    if metadata.exif is not None:
        tags.load(metadata.exif)
    if metadata.xmp is not None:
        tags[_XMP_TAG] = metadata.xmp
    if metadata.iptc is not None:
        tags[_IPTC_TAG] = metadata.iptc
    if metadata.comment and ExifTags.Base.ImageDescription not in tags:
        tags[ExifTags.Base.ImageDescription] = metadata.comment.encode("utf-8", "replace").decode()
    return tags if len(tags) else None


def _png(encoded: bytes, metadata: _Metadata) -> bytes:
    m = metadata
    complete = add_png_chunks(encoded, m.icc, m.exif, m.dpi, m.xmp, m.iptc, m.texts)
    return after_header(complete, b"".join(png_chunk(name, data) for name, data in m.colour))


def _encode(image: Image.Image, options: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **({"format": "PNG"} | options))
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
