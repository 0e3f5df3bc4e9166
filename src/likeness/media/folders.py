"""Folders: which media lie in one, what else does, and into which folder each input's results go."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from likeness.errors import InputError
from likeness.media.files import kind_or_foreign
from likeness.media.naming import MEDIA_SUFFIXES, fitted, folder_name
from likeness.media.signatures import Foreign

_LINKED = Foreign("linked folder", "name it to restore what it holds")
_NOT_SEEN = {name: Foreign(name, "") for name in ("hidden file", "hidden folder", "special file")}
_CLOSED = {name: Foreign(name, "check its permissions") for name in ("unreadable file", "unreadable folder")}


@dataclass
class Survey:
    """What a folder holds.

    Attributes:
        media: files to restore, sorted.
        skipped: how many of each other kind.
    """

    media: list[Path] = field(default_factory=list)
    skipped: Counter[Foreign] = field(default_factory=Counter)

    def skipped_text(self) -> str:
        """For a person: "2 camera raw files (export a JPEG or TIFF first), 1 text file"; empty for nothing."""
        return ", ".join(_counted(kind, count) for kind, count in self.skipped.most_common())


def _counted(kind: Foreign, count: int) -> str:
    name = kind.name
    if count > 1:
        first, of, rest = name.partition(" of ")
        name = f"{first}s{of}{rest}"
    return f"{count} {name}" + (f" ({kind.advice})" if kind.advice else "")


def survey(folder: str | Path, without: Path | None = None) -> Survey:
    """Looks at everything below `folder`, by content; links to folders are counted, not followed.

    A file whose suffix promises a medium (`MEDIA_SUFFIXES`) but whose content is empty, text or unknown counts as a
    medium, so that restoring it tells what is wrong.

    Args:
        folder: is searched with all its folders.
        without: a folder that is left out, such as that of the results.

    Raises:
        InputError: `folder` does not exist or is a file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: {'is a file' if folder.exists() else 'does not exist'}, expected a folder")
    result = Survey()
    left_out = None if without is None else without.resolve()

    def closed(error: OSError) -> None:
        result.skipped[_CLOSED["unreadable folder"]] += 1

    for parent, folders, files in os.walk(folder, onerror=closed):
        here = Path(parent)
        linked = {name for name in folders if (here / name).is_symlink()}
        hidden = {name for name in folders if name.startswith(".")} - linked
        result.skipped[_LINKED] += len(linked)
        result.skipped[_NOT_SEEN["hidden folder"]] += len(hidden)
        keep = [name for name in folders if name not in linked | hidden and (here / name).resolve() != left_out]
        folders[:] = keep
        for name in files:
            skipped = _reason_to_skip(here / name)
            if skipped is None:
                result.media.append(here / name)
            else:
                result.skipped[skipped] += 1
    result.media.sort()
    result.skipped = +result.skipped
    return result


def _reason_to_skip(path: Path) -> Foreign | None:
    if path.name.startswith("."):
        return _NOT_SEEN["hidden file"]
    promised = path.suffix.lower() in MEDIA_SUFFIXES
    if not path.is_file():
        return None if promised and path.is_symlink() else _NOT_SEEN["special file"]
    try:
        if path.stat().st_size == 0:
            return None if promised else Foreign("empty file", "")
        kind = kind_or_foreign(path)
    except (InputError, OSError):
        return None if promised else _CLOSED["unreadable file"]
    if not isinstance(kind, Foreign):
        return None
    return None if promised and kind.broken else kind


def find_media(folder: str | Path) -> list[Path]:
    """The media of `survey`.

    Raises:
        InputError: `folder` does not exist or is a file.
    """
    return survey(folder).media


def output_dirs(paths: Iterable[Path], root: Path, base: Path | None = None) -> dict[Path, Path]:
    """Gives each input its own folder: `root/<stem>`, or `root/<stem>_<suffix>` where stems collide.

    Args:
        paths: the inputs; one named twice gets one folder.
        root: where all results go.
        base: a folder that holds all inputs, whose tree is mirrored below `root`; None puts all into `root`.

    Raises:
        InputError: an input does not lie below `base`.
    """
    inputs = list(dict.fromkeys(paths))
    parents = {path: _mirrored(path, Path(root), base) for path in inputs}
    # Some file systems do not tell upper from lower case.
    names = {path: folder_name(path) for path in inputs}
    counts = Counter((parents[path], names[path].casefold()) for path in inputs)
    taken: set[tuple[Path, str]] = {key for key, count in counts.items() if count == 1}
    folders: dict[Path, Path] = {}
    for path in inputs:
        parent, name = parents[path], names[path]
        if counts[parent, name.casefold()] > 1:
            plain = name = folder_name(path, f"_{path.suffix.lstrip('.')}".rstrip("_"))
            number = 1
            while (parent, name.casefold()) in taken:
                number += 1
                name = fitted(plain, f"_{number}")
            taken.add((parent, name.casefold()))
        folders[path] = parent / name
    return folders


def _mirrored(path: Path, root: Path, base: Path | None) -> Path:
    if base is None:
        return root
    try:
        return root / path.absolute().relative_to(Path(base).absolute()).parent
    except ValueError as error:
        raise InputError(f"{path}: does not lie below {base}; name a folder that holds all inputs") from error
