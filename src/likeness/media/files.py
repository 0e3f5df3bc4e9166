"""The kind of an existing file, and how a result appears only when it is complete."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from likeness.errors import InputError, OutputError
from likeness.media.signatures import HEAD, Foreign, identify
from likeness.types import MediaKind

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # longer than the letter of a drive


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
            raise InputError(f"{path}: {_missing(path)}")
        if path.stat().st_size == 0:
            raise InputError(f"{path}: the file is empty (0 bytes), expected a photo, video or GIF; get it again")
        with path.open("rb"):
            pass
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error


def _missing(path: Path) -> str:
    if str(path) == "-":
        return "standard input is not read, expected the path of a file; save it to a file first"
    if _ADDRESS.match(str(path)):
        return "is an address, expected the path of a file; download it first"
    return "no such file; check the path and its spelling"


def kind_of(path: str | Path) -> MediaKind:
    """What a file is, by its content and not by its name.

    An animated WebP, PNG or AVIF counts as "gif": like a GIF, it is a short loop without sound.

    Raises:
        InputError: the file is missing, a folder, empty, unreadable, or of a kind that is not restored.
    """
    path = Path(path)
    kind = kind_or_foreign(path)
    if isinstance(kind, Foreign):
        raise InputError(f"{path}: is {kind.described()}, expected a photo, video or GIF; {kind.advice}")
    return kind


def kind_or_foreign(path: Path) -> MediaKind | Foreign:
    """As `kind_of`, but a file that is not restored is no error.

    Raises:
        InputError: the file is missing, a folder, empty or unreadable.
    """
    require_file(path)
    with path.open("rb") as file:
        return identify(file.read(HEAD), path)


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
    suffix = final.suffix if len(final.suffix) <= 16 else ""  # else the name could be too long
    temporary = final.with_name(f".likeness-{uuid.uuid4().hex}{suffix}")
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
