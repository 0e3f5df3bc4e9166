"""What a photo carries beside pixels and profile: XMP, IPTC, texts, and parts that the result does not hold."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from PIL import Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from likeness.media.metadata import iptc_of_raw_profile, png_chunks
from likeness.media.xmp import ATTACHED, FILM, GAIN_MAP, DamagedXmpError, without_pointers

_FILM = re.compile(rb"\x00\x00\x00[\x08-\x60]ftyp(?:isom|iso[2-9]|mp4[12]|avc1|qt  |3gp.)")
_IPTC_RESOURCE, _IPTC_TAG = 0x0404, 33723
_COMMENT = "Comment"
_COLOUR = frozenset({b"cICP", b"gAMA", b"cHRM", b"sRGB"})  # PNG specification, 11.3.2


@dataclass(frozen=True, slots=True)
class Attachments:
    """What describes a photo.

    Attributes:
        xmp: packet, without pointers at what the result does not hold.
        iptc: IPTC-IIM records.
        texts: PNG texts by keyword; a JPEG's comment has the keyword "Comment" and may hold escaped bytes.
        colour: the chunks by which a PNG without a profile says what its values mean, by name.
    """

    xmp: bytes | None = None
    iptc: bytes | None = None
    texts: tuple[tuple[str, str], ...] = ()
    colour: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def comment(self) -> str | None:
        """The text of a JPEG's comment."""
        return dict(self.texts).get(_COMMENT)


def attachments_of(image: Image.Image, path: Path | None) -> tuple[Attachments, list[str]]:
    """Reads the attachments of a loaded picture.

    Args:
        image: as Pillow opened it.
        path: of the file, which is searched for other parts; None: not searched.

    Returns:
        The attachments, and for a person what the result will not hold.
    """
    notes: list[str] = []
    stored = image.info.get("xmp")
    xmp = stored.encode() if isinstance(stored, str) else stored or None
    if xmp is not None:
        try:
            xmp, notes = without_pointers(xmp)
        except DamagedXmpError as error:
            notes = [f"XMP was left out: it is damaged ({error})"]
            xmp = None
    if path is not None:
        notes += [note for note in _lost(image, path) if note not in notes]
    return Attachments(xmp, _iptc_of(image), _texts_of(image), _colour_of(image, path)), notes


def _lost(image: Image.Image, path: Path) -> list[str]:
    """Parts that no XMP points at."""
    notes = []
    data = path.read_bytes()
    if _FILM.search(data, 16) or b"MotionPhoto_Data" in data[-(1 << 12) :]:
        notes.append(FILM)
    auxiliary = " ".join(image.info.get("aux") or ())
    if "gainmap" in auxiliary.lower() or b"tmap" in data[8:64] or b"urn:iso:std:iso:ts:21496:-1" in data[: 1 << 16]:
        notes.append(GAIN_MAP)
    if image.info.get("depth_images"):
        notes.append(ATTACHED)
    return notes


def _colour_of(image: Image.Image, path: Path | None) -> tuple[tuple[bytes, bytes], ...]:
    if path is None or not isinstance(image, PngImagePlugin.PngImageFile):
        return ()
    before_pixels = takewhile(lambda chunk: chunk[0] != b"IDAT", png_chunks(path.read_bytes()))
    return tuple(chunk for chunk in before_pixels if chunk[0] in _COLOUR)


def _iptc_of(image: Image.Image) -> bytes | None:
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        found = image.info.get("photoshop", {}).get(_IPTC_RESOURCE)
    elif isinstance(image, TiffImagePlugin.TiffImageFile):
        found = image.tag_v2.get(_IPTC_TAG) or image.get_photoshop_blocks().get(_IPTC_RESOURCE, {}).get("data")
    else:
        found = iptc_of_raw_profile(str(image.info.get("Raw profile type iptc", "")))
    return found if isinstance(found, bytes) and found else None


def _texts_of(image: Image.Image) -> tuple[tuple[str, str], ...]:
    if isinstance(image, PngImagePlugin.PngImageFile):
        ours = ("XML:com.adobe.xmp", "Raw profile type ")
        return tuple((key, str(text)) for key, text in image.text.items() if not key.startswith(ours))
    comment = image.info.get("comment")
    if isinstance(comment, str):
        comment = comment.encode("utf-8", "replace")
    return ((_COMMENT, comment.decode("utf-8", "surrogateescape")),) if comment else ()
