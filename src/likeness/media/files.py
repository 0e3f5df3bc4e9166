"""What kind of medium a file is, and how a result appears only when it is complete."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from likeness.errors import InputError, OutputError
from likeness.types import MediaKind

_HEAD = 512  # bytes: enough for every signature, two packets of a transport stream included
_PHOTO_BRANDS = frozenset({b"avif", b"mif1", b"heic", b"heix", b"heim", b"heis", b"miaf"})  # ISO/IEC 23008-12
_QUICKTIME_ATOMS = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})  # .mov older than "ftyp"
_VIDEO_MAGIC = (
    b"\x1aE\xdf\xa3",  # Matroska, WebM
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG video
    b"FLV",
    b"OggS",
    b"0&\xb2u\x8ef\xcf\x11",  # ASF: WMV
)


class NothingToClose:
    """A context manager for readers and writers that keep no file open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is open."""


def require_file(path: Path) -> None:
    """Raises InputError unless `path` is an existing, non-empty, readable file."""
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder, expected a photo, video or GIF; name a file in it")
        if not path.exists():
            raise InputError(f"{path}: no such file; check the path and its spelling")
        if path.stat().st_size == 0:
            raise InputError(f"{path}: the file is empty (0 bytes), expected a photo, video or GIF; get it again")
        with path.open("rb"):
            pass
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error


def kind_of(path: str | Path) -> MediaKind:
    """What a file is, by its first bytes and not by its name.

    An animated WebP or PNG counts as "gif": like a GIF, it is a short loop without sound.

    Raises:
        InputError: the file is missing, a folder, empty, unreadable, or no known medium.
    """
    path = Path(path)
    require_file(path)
    with path.open("rb") as file:
        head = file.read(_HEAD)
    kind = _sniff(head)
    if kind is None:
        raise InputError(
            f"{path}: begins with {head[:8].hex(' ')}, which is no known photo, video or GIF; "
            "convert it to PNG, MP4 or GIF"
        )
    if head.startswith(b"\x89PNG") and _is_animated_png(path):
        return "gif"
    return kind


def _sniff(head: bytes) -> MediaKind | None:
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if head[:3] == b"\xff\xd8\xff" or head[:8] == b"\x89PNG\r\n\x1a\n" or head[:2] == b"BM":
        return "photo"
    if head[:4] in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):  # TIFF and BigTIFF
        return "photo"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "gif" if head[12:16] == b"VP8X" and head[20:21] and head[20] & 0x02 else "photo"
    if head[4:8] == b"ftyp":
        return "photo" if head[8:12] in _PHOTO_BRANDS else "video"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "video"
    if head.startswith(_VIDEO_MAGIC) or head[4:8] in _QUICKTIME_ATOMS:
        return "video"
    # Transport streams: a sync byte every 188 bytes, or every 192 after a four-byte clock (Blu-ray).
    if (head[0:1] == head[188:189] == b"G") or (head[4:5] == head[196:197] == b"G"):
        return "video"
    return None


def _is_animated_png(path: Path) -> bool:
    """Whether an `acTL` chunk comes before the first `IDAT` (APNG specification)."""
    with path.open("rb") as file:
        file.seek(8)
        while len(header := file.read(8)) == 8 and header[4:] not in (b"IDAT", b"IEND"):
            if header[4:] == b"acTL":
                return True
            file.seek(int.from_bytes(header[:4], "big") + 4, os.SEEK_CUR)
    return False


@contextmanager
def atomic_output(final: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `final`; the file takes its final name when the block ends without an error.

    The temporary file exists (empty), is hidden and has `final`'s suffix. Any error, Ctrl-C included, removes it and
    leaves an earlier file at `final` untouched.

    Raises:
        OutputError: the folder cannot be created or written, or `final` is a folder.
    """
    final = Path(final)
    if final.is_dir():
        raise OutputError(f"{final}: is a folder, expected the name of a file; add one")
    temporary = final.with_name(f".likeness-{uuid.uuid4().hex}{final.suffix}")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise OutputError(f"{final}: its folder cannot be written ({error.strerror}); choose another output") from error
    try:
        try:
            yield temporary
        except OutputError as error:  # the name that the user gave
            raise OutputError(str(error).replace(str(temporary), str(final))) from error
        try:
            temporary.replace(final)
        except OSError as error:
            raise OutputError(f"{final}: cannot be given its name ({error.strerror}); choose another output") from error
    finally:
        temporary.unlink(missing_ok=True)
