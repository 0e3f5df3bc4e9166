"""What a file is, by its first bytes: a photo, video or GIF, or a kind that is not restored and what to do with it."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from likeness.types import MediaKind

HEAD = 512  # bytes: enough for every signature, two packets of a transport stream included

_DNG_VERSION, _SUBFILE_TYPE, _PHOTOMETRIC, _SUB_DIRECTORIES = 50706, 254, 262, 330  # TIFF tags
_RAW_PHOTOMETRIC = (32803, 34892)  # colour filter array, linear raw
_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")  # and BigTIFF
_PHOTO_BRANDS = frozenset({b"avif", b"mif1", b"heic", b"heix", b"heim", b"heis", b"miaf"})  # ISO/IEC 23008-12
_SEQUENCE_BRANDS = frozenset({b"hevc", b"hevx", b"hevm", b"hevs", b"msf1"})  # ISO/IEC 23008-12, annex B
_SOUND_BRANDS = frozenset({b"M4A ", b"M4B ", b"M4P ", b"F4A "})
_QUICKTIME_ATOMS = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})  # .mov older than "ftyp"
_PHOTO_MAGIC = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"BM",
    b"\x00\x00\x00\x0cjP  \r\n\x87\n",  # JPEG 2000, and its bare codestream
    b"\xff\x4f\xff\x51",
)
_VIDEO_MAGIC = (
    b"\x1aE\xdf\xa3",  # Matroska, WebM
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG video
    b"FLV",
    b"OggS",
    b"0&\xb2u\x8ef\xcf\x11",  # ASF: WMV
    b"\x06\x0e\x2b\x34",  # MXF
    b"YUV4MPEG2",
    b"DKIF",  # IVF
    b"\x1f\x07\x00",  # DV
    b".RMF",  # RealMedia
    b"nut/multimedia container",
)
_START_CODE = re.compile(rb"\x00\x00\x00?\x01(..)", re.DOTALL)  # of a bare H.264 or H.265 stream (annex B of both)


@dataclass(frozen=True, slots=True)
class Foreign:
    """A kind of file that is not restored.

    Attributes:
        name: in the singular, such as "camera raw file".
        advice: what its owner can do.
        broken: a file with the suffix of a medium is not of this kind by intention.
    """

    name: str
    advice: str
    broken: bool = False

    def described(self) -> str:
        """The name with its article."""
        return f"{'an' if self.name[0] in 'aeiouAEIO' else 'a'} {self.name}"


UNKNOWN = Foreign("file of unknown kind", "convert it to PNG, MP4 or GIF", broken=True)
CAMERA_RAW = Foreign("camera raw file", "export a JPEG or TIFF first")
_HEIC_SEQUENCE = Foreign("sequence of HEIC pictures", "export it as MP4 or GIF first")
_SOUND = Foreign("sound file", "it holds no picture")
_ARCHIVE = Foreign("archive", "unpack it first")
_PICTURE = "export it as PNG or TIFF first"
_FOREIGN_MAGIC = {
    b"FUJIFILMCCD-RAW": CAMERA_RAW, b"IIRO": CAMERA_RAW, b"IIRS": CAMERA_RAW, b"MMOR": CAMERA_RAW,
    b"IIU\x00": CAMERA_RAW, b"FOVb": CAMERA_RAW, b"II\x1a\x00\x00\x00HEAPCCDR": CAMERA_RAW, b"\x00MRM": CAMERA_RAW,
    b"8BPS": Foreign("Photoshop document", _PICTURE),
    b"gimp xcf": Foreign("GIMP document", _PICTURE),
    b"v/1\x01": Foreign("OpenEXR picture", _PICTURE),
    b"#?RADIANCE": Foreign("Radiance picture", _PICTURE),
    b"\x00\x00\x00\x0cJXL ": Foreign("JPEG XL picture", _PICTURE), b"\xff\x0a": Foreign("JPEG XL picture", _PICTURE),
    b"\x00\x00\x01\x00": Foreign("icon", _PICTURE),
    b"%!PS": Foreign("PostScript drawing", _PICTURE), b"\xc5\xd0\xd3\xc6": Foreign("PostScript drawing", _PICTURE),
    b"%PDF": Foreign("PDF document", "export its pictures first"),
    b"ID3": _SOUND, b"fLaC": _SOUND, b"\xff\xfb": _SOUND, b"\xff\xf3": _SOUND, b"FORM": _SOUND, b"#!AMR": _SOUND,
    b"PK\x03\x04": _ARCHIVE, b"\x1f\x8b": _ARCHIVE, b"Rar!": _ARCHIVE, b"7z\xbc\xaf\x27\x1c": _ARCHIVE,
}  # fmt: skip


def identify(head: bytes, path: Path) -> MediaKind | Foreign:
    """The kind of a file.

    Args:
        head: its first `HEAD` bytes, not empty.
        path: of the file, which is read on where the first bytes do not decide.

    Raises:
        OSError: the file cannot be read.
    """
    if head.startswith(_TIFF):
        return CAMERA_RAW if _is_camera_raw(path) else "photo"
    if head[:8] == b"\x89PNG\r\n\x1a\n" and _is_animated_png(path):
        return "gif"
    if head.startswith(_PHOTO_MAGIC) or (head[:2] in (b"P4", b"P5", b"P6") and head[2:3].isspace()):
        return "photo"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if head[:4] == b"RIFF":
        return _riff(head)
    if head[4:8] == b"ftyp":
        return _branded(head)
    if head[:4] == b"OggS" and (b"OpusHead" in head[:64] or b"\x01vorbis" in head[:64]):
        return _SOUND
    if head.startswith(_VIDEO_MAGIC) or head[4:8] in _QUICKTIME_ATOMS or _is_bare_stream(head):
        return "video"
    # Transport streams: a sync byte every 188 bytes, or every 192 after a four-byte clock (Blu-ray).
    if (head[0:1] == head[188:189] == b"G") or (head[4:5] == head[196:197] == b"G"):
        return "video"
    return next((kind for magic, kind in _FOREIGN_MAGIC.items() if head.startswith(magic)), None) or _text(head)


def _riff(head: bytes) -> MediaKind | Foreign:
    if head[8:12] == b"WEBP":
        return "gif" if head[12:16] == b"VP8X" and head[20:21] and head[20] & 0x02 else "photo"
    if head[8:12] == b"AVI ":
        return "video"
    return _SOUND if head[8:12] == b"WAVE" else UNKNOWN


def _branded(head: bytes) -> MediaKind | Foreign:
    """ISO base media files, by the brands of their first box (ISO/IEC 14496-12, 4.3)."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    major, brands = head[8:12], {head[8:12], *(head[i : i + 4] for i in range(16, end - 3, 4))}
    if b"avis" in brands:
        return "gif"
    if brands & _SEQUENCE_BRANDS:
        return _HEIC_SEQUENCE
    # A damaged brand makes no video of a still, whose boxes begin with "meta".
    if major in _PHOTO_BRANDS or (brands & _PHOTO_BRANDS and head[end + 4 : end + 8] == b"meta"):
        return "photo"
    if major == b"crx ":
        return CAMERA_RAW
    return _SOUND if major in _SOUND_BRANDS else "video"


def _is_bare_stream(head: bytes) -> bool:
    """Whether the first unit is one that H.264 or H.265 streams begin with: a parameter set or a delimiter."""
    first = _START_CODE.match(head)
    if first is None:
        return False
    unit, rest = first[1]
    return unit & 0x9F in (7, 9) or (unit in (0x40, 0x42, 0x46) and rest == 1)


def _text(head: bytes) -> Foreign:
    """Text by its characters: UTF-8 without control characters but line ends and tabs."""
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if len(head) < HEAD or error.start < len(head) - 3:  # else the head ends within a character
            return UNKNOWN
        text = head[: error.start].decode()
    if any(ord(character) < 32 and character not in "\t\n\r\f" for character in text):
        return UNKNOWN
    start = text.lower()
    if "<svg" in start:
        return Foreign("SVG drawing", _PICTURE)
    if "<!doctype html" in start or "<html" in start:
        return Foreign("web page", "get the picture or video itself", broken=True)
    return Foreign("text file", "it holds no picture", broken=True)


def _is_camera_raw(path: Path) -> bool:
    """Whether a TIFF is a camera's raw data, of which its first directory holds only a preview.

    DNG and CR2 say so. Others store the sensor's pixels (CFA or linear raw) or a reduced picture first, and the data in
    a sub-directory (DNG specification 1.7, chapters 2 and 4).
    """
    with path.open("rb") as file:
        header = file.read(16)
        if header[8:10] == b"CR":
            return True
        try:
            directory = ImageFileDirectory_v2(header if header[2:4] in (b"+\x00", b"\x00+") else header[:8])
            file.seek(directory.next)
            directory.load(file)
            reduced, photometric = directory.get(_SUBFILE_TYPE, 0), directory.get(_PHOTOMETRIC)
            preview = isinstance(reduced, int) and reduced & 1 and _SUB_DIRECTORIES in directory
            return bool(_DNG_VERSION in directory or preview or photometric in _RAW_PHOTOMETRIC)
        except (OSError, SyntaxError, ValueError, TypeError, LookupError, OverflowError, struct.error):
            return False  # damaged: reading it as a photo says how


def _is_animated_png(path: Path) -> bool:
    """Whether an `acTL` chunk comes before the first `IDAT` (APNG specification)."""
    with path.open("rb") as file:
        file.seek(8)
        while len(header := file.read(8)) == 8 and header[4:] not in (b"IDAT", b"IEND"):
            if header[4:] == b"acTL":
                return True
            file.seek(int.from_bytes(header[:4], "big") + 4, 1)
    return False
