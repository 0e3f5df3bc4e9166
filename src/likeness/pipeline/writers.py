"""Writers of results: of photos, pages and clips, and `SegmentedWriter` in resume.py, with one interface."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from likeness.media.animation import AnimationWriter
from likeness.media.files import NothingToClose, atomic_output
from likeness.media.gif import GifReader, GifWriter
from likeness.media.image_writer import TiffPages, write_image
from likeness.media.naming import OutputNames, photo_suffix
from likeness.media.prefetch import BackgroundWriter
from likeness.media.readers import PhotoReader
from likeness.media.video_reader import VideoReader
from likeness.media.video_writer import VideoWriter
from likeness.pipeline.cards import Card, side_by_side
from likeness.pipeline.report import Tally
from likeness.pipeline.retimed import RetimedWriter
from likeness.pipeline.shots import BestShots
from likeness.pipeline.state import ClipState
from likeness.stages.background.lanczos import lanczos
from likeness.stages.temporal.config import VideoConfig
from likeness.types import Frame, Pixels


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on after a frame; `tally`, `cards` and `shots` change with the next frame.

    Attributes:
        state: of the tracks.
        tally, cards, shots: of all frames so far.
    """

    state: ClipState
    tally: Tally
    cards: dict[int, Card]
    shots: BestShots


class ResultWriter(Protocol):
    """Takes the restored frames of one file in order; `finish` completes the files and gives them their names.

    A block that ends without `finish` leaves no file with a final name.

    Attributes:
        checkpoint: the last frame that an earlier run wrote; None to begin with the first.
        notes: for a person, what the result does not keep; complete after `finish`.
        outputs: paths by role ("restored", "frames", "compare"); complete after `finish`.
    """

    checkpoint: Checkpoint | None
    notes: list[str]
    outputs: dict[str, Path]

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def write(self, frame: Frame, pixels: Pixels, record: Mapping[str, Any], after: Checkpoint) -> None:
        """Takes the next frame.

        Args:
            frame: of the source.
            pixels: the restored ones, enlarged.
            record: the frame's line in the frames log.
            after: what a run needs to go on after this frame.

        Raises:
            OutputError: if a file cannot be written.
        """

    def finish(self, copy_source: bool) -> None:
        """Completes all files; with `copy_source` the result becomes a copy of the source.

        Raises:
            OutputError: if a file cannot be written.
        """


def restored_frame(frame: Frame, pixels: Pixels, upscale: int) -> Frame:
    """A restored frame with the times of the source's frame and its alpha, enlarged."""
    alpha = None if frame.alpha is None else lanczos(frame.alpha, upscale)
    return Frame(pixels, frame.index, frame.time, frame.duration, alpha)


class PhotoWriter(NothingToClose):
    """Writes a photo with the metadata of its source.

    Args:
        reader: of the source.
        names: of the files; the suffix changes where the source's format cannot hold the result.
        upscale: factor of the result's size.
        compare: whether before | after is written.
        label: whether a changed photo says in its XMP that a network made part of it.
    """

    def __init__(self, reader: PhotoReader, names: OutputNames, upscale: int, compare: bool, label: bool) -> None:
        self.checkpoint: Checkpoint | None = None
        self.notes: list[str] = []
        self.outputs: dict[str, Path] = {}
        self._picture, self._names, self._upscale, self._compare = reader.picture, names, upscale, compare
        self._label = label

    def write(self, frame: Frame, pixels: Pixels, record: Mapping[str, Any], after: Checkpoint) -> None:
        """Keeps the photo, see `ResultWriter`."""
        self._restored = restored_frame(frame, pixels, self._upscale)
        self._label = self._label and after.tally.changed

    def finish(self, copy_source: bool) -> None:
        """See `ResultWriter`."""
        names, meta, source = self._names, self._picture.meta, self._picture.frame
        suffix = photo_suffix(names.restored.suffix, source, meta.format)
        self.outputs["restored"] = names.restored if copy_source else names.with_suffix(suffix)
        if self.outputs["restored"] != names.restored:
            self.notes.append(f"{names.restored.suffix or 'no suffix'} became {suffix}, which can hold the result")
        with atomic_output(self.outputs["restored"]) as partial:
            if copy_source:
                shutil.copyfile(names.source, partial)
            else:
                self.notes.extend(self._picture.notes)
                self.notes.extend(write_image(partial, self._restored, meta, self._label))
        if self._compare:
            self.outputs["compare"] = names.compare(suffix)
            with atomic_output(self.outputs["compare"]) as partial:
                both = side_by_side(source.pixels, self._restored.pixels)
                write_image(partial, Frame(both), meta, self._label)


class PagesWriter:
    """Writes a TIFF of several pages while they are restored, each with its metadata.

    Args:
        reader: of the source.
        names: of the files.
        upscale: factor of the result's size.
        compare: whether a TIFF of before | after is written.
        label: whether a changed page says in its XMP that a network made part of it.

    Raises:
        OutputError: on entering, if a file cannot be created.
    """

    def __init__(self, reader: PhotoReader, names: OutputNames, upscale: int, compare: bool, label: bool) -> None:
        self.checkpoint: Checkpoint | None = None
        self.notes: list[str] = []
        tiff = names.restored.suffix.lower() in (".tif", ".tiff")
        self.outputs = {"restored": names.restored if tiff else names.with_suffix(".tif")}
        if compare:
            self.outputs["compare"] = names.compare(self.outputs["restored"].suffix)
        self._reader, self._source, self._upscale, self._label = reader, names.source, upscale, label

    def __enter__(self) -> Self:
        with ExitStack() as files:
            partial = {role: files.enter_context(atomic_output(path)) for role, path in self.outputs.items()}
            encoders = files.enter_context(ExitStack())
            self._encoders = encoders
            self._pages = {role: encoders.enter_context(TiffPages(path)) for role, path in partial.items()}
            self._partial, self._files = partial["restored"], files.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.__exit__(kind, error, trace)

    def write(self, frame: Frame, pixels: Pixels, record: Mapping[str, Any], after: Checkpoint) -> None:
        """Writes the page, see `ResultWriter`."""
        meta, notes = self._reader.pages[frame.index]
        self.notes.extend(note for note in notes if note not in self.notes)
        label = self._label and after.tally.changed
        self._pages["restored"].write(restored_frame(frame, pixels, self._upscale), meta, label)
        if "compare" in self._pages:
            self._pages["compare"].write(Frame(side_by_side(frame.pixels, pixels), frame.index), meta, label)

    def finish(self, copy_source: bool) -> None:
        """See `ResultWriter`."""
        self._encoders.close()
        self.notes.extend(note for note in self._pages["restored"].notes if note not in self.notes)
        if copy_source:
            self.notes.clear()
            shutil.copyfile(self._source, self._partial)
        self._files.close()


class ClipWriter:
    """Writes a video or GIF while it is restored, with its frames log and before | after beside it.

    Args:
        reader: of the source.
        names: of the files.
        upscale: factor of the result's size.
        video: options of a video: how long the encoder searches, and the frame rate.
        log: whether the frames log is written.
        compare: whether before | after is written, at the source's frame rate.
        label: whether the files say that a network made part of them.

    Raises:
        OutputError: on entering, if a file cannot be created.
    """

    def __init__(
        self,
        reader: VideoReader | GifReader,
        names: OutputNames,
        upscale: int,
        video: VideoConfig,
        log: bool,
        compare: bool,
        label: bool,
    ) -> None:
        self.checkpoint: Checkpoint | None = None
        self.notes: list[str] = []
        self.outputs = {"restored": names.restored}
        if log:
            self.outputs["frames"] = names.frames
        if compare:
            self.outputs["compare"] = names.compare(names.restored.suffix)
        self._reader, self._source, self._upscale, self._video = reader, names.source, upscale, video
        self._label = label
        self._comparison: VideoWriter | GifWriter | AnimationWriter | None = None
        if isinstance(reader, GifReader):
            self._note_animation(reader)
        self._log: TextIO | None = None

    def __enter__(self) -> Self:
        width, height = self._reader.info.width * self._upscale, self._reader.info.height * self._upscale
        with ExitStack() as files:
            partial = {role: files.enter_context(atomic_output(path)) for role, path in self.outputs.items()}
            encoders = files.enter_context(ExitStack())
            self._partial = partial["restored"]
            self._clip = self._open(self._partial, width, height)
            encoders.enter_context(self._clip)
            if "compare" in partial:
                self._comparison = self._open(partial["compare"], 2 * width + 4, height)
                encoders.enter_context(self._comparison)
            if "frames" in partial:
                self._log = encoders.enter_context(partial["frames"].open("w"))
            # Entered last, so that it has encoded everything before the encoders are closed.
            self._queue = encoders.enter_context(BackgroundWriter(self._encode))
            self._encoders, self._files = encoders, files.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.__exit__(kind, error, trace)

    def _open(self, path: Path, width: int, height: int) -> VideoWriter | GifWriter | AnimationWriter:
        if isinstance(self._reader, VideoReader):
            if self._video.fps and path == self._partial:
                return RetimedWriter(path, self._reader, width, height, self._video, self._label)
            return VideoWriter(path, self._reader, width, height, effort=self._video.effort, label=self._label)
        if path.suffix.lower() == ".gif":
            return GifWriter(path, self._reader.info, self._reader.meta, self._label)
        hidden = self._reader.hidden_image() if path == self._partial else None
        if hidden is not None:
            hidden = restored_frame(hidden, lanczos(hidden.pixels, self._upscale), self._upscale)
        return AnimationWriter(path, self._reader.info, self._reader.meta, self._label, hidden)

    def _note_animation(self, reader: GifReader) -> None:
        written = self.outputs["restored"].suffix.lower()
        if self._video.fps:
            self.notes.append(f"video.fps={self._video.fps} is for videos: the frames of an animation keep their times")
        if written != self._source.suffix.lower():
            self.notes.append(f"{self._source.suffix or 'no suffix'} became {written}")
        if reader.has_hidden_image and written not in (".png", ".apng"):
            self.notes.append(f"the still for viewers that do not animate is not kept: {written} cannot hold it")

    def write(self, frame: Frame, pixels: Pixels, record: Mapping[str, Any], after: Checkpoint) -> None:
        """Encodes the frame in the background, see `ResultWriter`."""
        if self._log:
            self._log.write(json.dumps(record, allow_nan=False) + "\n")
        self._queue.put((frame, pixels))

    def _encode(self, item: tuple[Frame, Pixels]) -> None:
        frame, pixels = item
        self._clip.write(restored_frame(frame, pixels, self._upscale))
        if self._comparison:
            self._comparison.write(Frame(side_by_side(frame.pixels, pixels), frame.index, frame.time, frame.duration))

    def finish(self, copy_source: bool) -> None:
        """See `ResultWriter`."""
        self._encoders.close()
        self.notes.extend(self._clip.notes)
        if copy_source:
            shutil.copyfile(self._source, self._partial)
        self._files.close()
