"""One way to read any medium: an object that iterates over frames and knows `info` and `notes`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from likeness.media.files import NothingToClose
from likeness.media.gif import GifReader
from likeness.media.images import read_image
from likeness.media.video_reader import VideoReader
from likeness.types import Frame, MediaInfo, MediaKind, TimeRange


class PhotoReader(NothingToClose):
    """A photo as a clip of one frame.

    Args:
        path: the file.
        time_range: not used, which a note says.

    Attributes:
        notes: for a person, what reading changed.
        picture: the photo and its metadata.

    Raises:
        InputError: as `read_image`.
    """

    def __init__(self, path: str | Path, time_range: TimeRange | None = None) -> None:
        self.picture = read_image(path)
        self.notes: list[str] = list(self.picture.notes)
        if time_range is not None:
            self.notes.append("start, end and preview are for clips: the whole photo was taken")

    @property
    def info(self) -> MediaInfo:
        """Size and format."""
        return self.picture.info

    def __iter__(self) -> Iterator[Frame]:
        return iter([self.picture.frame])


Reader = PhotoReader | GifReader | VideoReader


def open_reader(path: Path, kind: MediaKind, time_range: TimeRange | None = None) -> Reader:
    """Opens a file of known kind, of which only `time_range` is read.

    Raises:
        InputError: missing, damaged, or of another kind.
    """
    readers: dict[MediaKind, type[PhotoReader] | type[GifReader] | type[VideoReader]] = {
        "photo": PhotoReader, "gif": GifReader, "video": VideoReader,
    }  # fmt: skip
    return readers[kind](path, time_range)
