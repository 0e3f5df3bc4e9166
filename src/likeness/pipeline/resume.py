"""Resuming: finished segments of a video lie beside its result until all of it is done.

A segment holds its encoded frames, its lines of the frames log, and what the next segment needs to go on. It is stored
with pickle: only files that this program wrote for the same source, options and weights are read.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from likeness import __version__
from likeness.errors import OutputError
from likeness.media.files import atomic_output
from likeness.media.naming import OutputNames
from likeness.media.prefetch import BackgroundWriter
from likeness.media.segments import SEGMENT_OPTIONS, SegmentEncoder
from likeness.media.video_encoding import EncodedPacket
from likeness.media.video_reader import VideoReader
from likeness.media.video_writer import VideoWriter
from likeness.pipeline.config import RestorerConfig
from likeness.pipeline.writers import Checkpoint, restored_frame
from likeness.types import Frame, Pixels
from likeness.weights.files import file_hash

SEGMENT_SECONDS = 10


@dataclass(frozen=True)
class Segment:
    """A finished segment.

    Attributes:
        packets: its encoded frames.
        log: its lines of the frames log.
        after: what a run needs to go on after its last frame.
    """

    packets: list[EncodedPacket]
    log: list[str]
    after: Checkpoint


class SegmentStore:
    """The finished segments of one video, in order.

    Args:
        folder: holds one file for each.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __len__(self) -> int:
        count = 0
        while self._file(count).is_file():
            count += 1
        return count

    def __iter__(self) -> Iterator[Segment]:
        """All segments in order; one is in memory at a time."""
        return (self.read(number) for number in range(len(self)))

    def read(self, number: int) -> Segment:
        """One segment, counted from 0."""
        segment: Segment = pickle.loads(self._file(number).read_bytes())
        return segment

    def put(self, number: int, segment: Segment) -> None:
        """Stores a segment under its number; its file appears when it is complete."""
        with atomic_output(self._file(number)) as partial:
            partial.write_bytes(pickle.dumps(segment))

    def remove(self) -> None:
        """Deletes the folder."""
        shutil.rmtree(self.folder)

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:05d}.segment"


class Segments(SegmentStore):
    """The store of a resumed video, in a hidden folder beside its result.

    Segments of another source, other options or other weights are deleted.

    Args:
        names: of the source and the result.
        config: all options.
        hashes: sha256 of all weights.
        upscale: factor of the result's size.

    Raises:
        OutputError: if the folder cannot be written.
    """

    def __init__(self, names: OutputNames, config: RestorerConfig, hashes: Mapping[str, str], upscale: int) -> None:
        options = {k: v for k, v in asdict(config).items() if k != "cards"}
        suffix = names.restored.suffix
        facts = [__version__, file_hash(names.source), options, dict(hashes), upscale, suffix, str(SEGMENT_SECONDS)]
        key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        super().__init__(names.segments)
        file = self.folder / "key"
        try:
            if self.folder.is_dir() and not (file.is_file() and file.read_text() == key):
                shutil.rmtree(self.folder)
            self.folder.mkdir(parents=True, exist_ok=True)
            file.write_text(key)
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be written ({error.strerror}); choose another output") from error


@dataclass
class _OpenSegment:
    """The segment that is being encoded; `after` belongs to its last frame so far."""

    encoder: SegmentEncoder
    queue: BackgroundWriter[Frame]
    begin: Fraction
    log: list[str]
    after: Checkpoint


class SegmentedWriter:
    """Writes a video in segments of `SEGMENT_SECONDS`, so that a killed run goes on after the last finished one.

    Args:
        reader: of the source.
        names: of the files.
        segments: those that are finished.
        upscale: factor of the result's size.
        effort: fast, medium or slow: how long the encoder searches.
        log: whether the frames log is written.
        label: whether the video's comment says that a network made part of it.
    """

    def __init__(
        self,
        reader: VideoReader,
        names: OutputNames,
        segments: SegmentStore,
        upscale: int,
        effort: str,
        log: bool,
        label: bool,
    ) -> None:
        self.checkpoint = segments.read(len(segments) - 1).after if len(segments) else None
        self.notes: list[str] = []
        self.outputs = {"restored": names.restored} | ({"frames": names.frames} if log else {})
        self._reader, self._source, self._segments = reader, names.source, segments
        self._upscale, self._effort, self._label = upscale, effort, label
        self._size = reader.info.width * upscale, reader.info.height * upscale
        self._open: _OpenSegment | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open:
            self._open.queue.stop()
        if error is not None and not len(self._segments):
            self._segments.remove()

    def write(self, frame: Frame, pixels: Pixels, record: Mapping[str, Any], after: Checkpoint) -> None:
        """Encodes the frame in the background and stores the segment that it completes, see `ResultWriter`."""
        if self._open is None:
            suffix = self.outputs["restored"].suffix
            encoder = SegmentEncoder(self._reader.source, suffix, *self._size, self._effort)
            self._open = _OpenSegment(encoder, BackgroundWriter(encoder.write), frame.time, [], after)
        self._open.log.append(json.dumps(record, allow_nan=False))
        self._open.queue.put(restored_frame(frame, pixels, self._upscale))
        self._open.after = after
        if frame.duration is not None and frame.time + frame.duration - self._open.begin >= SEGMENT_SECONDS:
            self._store(self._open)

    def _store(self, segment: _OpenSegment) -> None:
        """Ends a segment and stores it, before the next frame changes its checkpoint."""
        segment.queue.finish()
        self._segments.put(len(self._segments), Segment(segment.encoder.finish(), segment.log, segment.after))
        self._open = None

    def finish(self, copy_source: bool) -> None:
        """Joins the segments, see `ResultWriter`."""
        if self._open:
            self._store(self._open)
        with atomic_output(self.outputs["restored"]) as partial:
            clip = VideoWriter(partial, self._reader, *self._size, SEGMENT_OPTIONS, self._effort, self._label)
            with clip as writer:
                writer.write_encoded(packet for segment in self._segments for packet in segment.packets)
            self.notes.extend(writer.notes)
            if copy_source:
                shutil.copyfile(self._source, partial)
            if "frames" in self.outputs:
                with atomic_output(self.outputs["frames"]) as log, log.open("w") as file:
                    file.writelines(f"{line}\n" for segment in self._segments for line in segment.log)
        self._segments.remove()
