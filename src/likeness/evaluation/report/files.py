"""Writes results into a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from likeness.errors import OutputError


@contextmanager
def writing(folder: Path, option: str = "output") -> Iterator[None]:
    """Makes the folder.

    Args:
        folder: of the results.
        option: that named it, for the message.

    Raises:
        OutputError: if the folder cannot be made, or the block cannot write.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise OutputError(
            f"{option}: cannot write to {folder} ({error.strerror}); choose another {option}=DIR"
        ) from error


def write_texts(folder: Path, texts: Mapping[str, str]) -> None:
    """Writes each text under its file name; call it within `writing`."""
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
