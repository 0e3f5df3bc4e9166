"""One way to read any medium: an object that iterates over frames and knows `info` and `notes`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from likeness.media.files import NothingToClose
from likeness.media.gif import GifReader
from likeness.media.images import ImageMeta, read_image
from likeness.media.video_reader import VideoReader
from likeness.types import Frame, MediaInfo, MediaKind, TimeRange


class PhotoReader(NothingToClose):
    """A photo as a clip of one frame, a TIFF as a clip of its pages, which may differ in size.

    Args:
        path: the file.
        time_range: not used, which a note says.

    Attributes:
        notes: for a person.
        picture: the photo, or the first page.
        pages: of every frame read so far, what the result keeps and what reading left out.

    Raises:
        InputError: as `read_image`.
    """

    def __init__(self, path: str | Path, time_range: TimeRange | None = None) -> None:
        self.path, self.picture = Path(path), read_image(path)
        self.pages: list[tuple[ImageMeta, tuple[str, ...]]] = []
        self.notes: list[str] = []
        if time_range is not None:
            self.notes.append("start, end and preview are for clips: the whole photo was taken")

    @property
    def info(self) -> MediaInfo:
        """Size, format and number of pages."""
        return self.picture.info

    def __iter__(self) -> Iterator[Frame]:
        self.pages.clear()
        for index, page in enumerate(self.picture.pages):
            picture = self.picture if index == 0 else read_image(self.path, page)
            self.pages.append((picture.meta, picture.notes))
            yield replace(picture.frame, index=index)


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
