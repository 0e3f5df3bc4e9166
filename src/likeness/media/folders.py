"""Folders: which media lie in one, and into which folder each input's results go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from likeness.errors import InputError
from likeness.media.naming import MEDIA_SUFFIXES


def find_media(folder: str | Path) -> list[Path]:
    """All files below `folder` with a suffix of `MEDIA_SUFFIXES`, sorted, without hidden files and folders.

    Raises:
        InputError: `folder` does not exist or is a file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: {'is a file' if folder.exists() else 'does not exist'}, expected a folder")
    media = (p for p in folder.rglob("*") if p.suffix.lower() in MEDIA_SUFFIXES and p.is_file())
    return sorted(p for p in media if not any(part.startswith(".") for part in p.relative_to(folder).parts))


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
    stems = Counter((parents[path], path.stem.casefold()) for path in inputs)
    taken: set[tuple[Path, str]] = {key for key, count in stems.items() if count == 1}
    folders: dict[Path, Path] = {}
    for path in inputs:
        parent, name = parents[path], path.stem
        if stems[parent, name.casefold()] > 1:
            plain = name = f"{path.stem}_{path.suffix.lstrip('.')}".rstrip("_")
            number = 1
            while (parent, name.casefold()) in taken:
                number += 1
                name = f"{plain}_{number}"
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
