"""One file on its way through the pipeline: read, restore, write, compare, report."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from likeness.errors import ConfigError, InputError
from likeness.media.files import atomic_output, kind_of
from likeness.media.image_writer import write_image
from likeness.media.images import ImageMeta
from likeness.media.naming import OutputNames
from likeness.media.prefetch import prefetch
from likeness.media.readers import PhotoReader, Reader, open_reader
from likeness.media.video_reader import VideoReader
from likeness.pipeline.cards import Card, card_of, draw_cards, wanted
from likeness.pipeline.config import RestorerConfig, time_range_of
from likeness.pipeline.reference import Comparison
from likeness.pipeline.report import Run, Tally, build, frame_record
from likeness.pipeline.report_types import FaceRecord, Report
from likeness.pipeline.resume import SegmentedWriter, Segments
from likeness.pipeline.shots import BestShots
from likeness.pipeline.state import ClipState, Clock, Context, FrameResult, Models, pasted
from likeness.pipeline.video import restore_video
from likeness.pipeline.writers import Checkpoint, ClipWriter, PagesWriter, PhotoWriter, ResultWriter
from likeness.stages.background.base import Progress as Tiles
from likeness.stages.background.base import choose_upscale
from likeness.types import Frame, MediaInfo, MediaKind

Progress = Callable[[int, int | None, int], None]  # steps done, all of them where known, faces so far
Item = TypeVar("Item")


@dataclass(frozen=True)
class FileResult:
    """The result of one file.

    Attributes:
        outputs: paths by role ("restored", "compare", "cards", "report", "frames").
        report: a `Report`; docs/report.schema.json describes it.
    """

    outputs: Mapping[str, Path]
    report: Mapping[str, Any]

    @property
    def summary(self) -> str:
        """One line for a person."""
        return str(self.report["summary"])


class Job:
    """The restoration of one file; used once.

    Args:
        models: the networks.
        config: all options.
        names: of the source and of all that is written.
        kind: of the source.
        reference: the true picture or clip, if there is one.
        progress: called after every frame of a clip, see `Restorer.file`.

    Raises:
        ConfigError: for a reference to a video that is to be resumed, as its figures do not outlive a killed run.
    """

    def __init__(
        self,
        models: Models,
        config: RestorerConfig,
        names: OutputNames,
        kind: MediaKind,
        reference: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        if reference and config.resume and kind == "video":
            raise ConfigError("resume: got true with a reference, which is compared in one run; leave one of them out")
        if config.repair.wanted and kind != "photo":
            raise ConfigError(f"repair: got {config.repair.name} for a clip, expected a photo; leave it out")
        self.models, self.config, self.names, self.kind = models, config, names, kind
        self.reference, self.progress = reference, progress
        self.tally, self.clock, self.cards = Tally(), Clock(), dict[int, Card]()
        self.shots = BestShots(config.best_frames)
        self.notes: list[str] = list(names.notes)
        self.time_range = time_range_of(config)
        self.comparison = Comparison(models, config.weights.lpips) if reference else None
        self.start = time.perf_counter()

    @property
    def wants_compare(self) -> bool:
        """Whether before | after is written."""
        return self.config.compare == "yes" or (self.config.compare == "auto" and self.kind != "video")

    def run(self) -> FileResult:
        """Restores the file and writes everything beside it: comparison, frames log, cards, best shots, report.

        Raises:
            InputError: as `restore`.
            OutputError: if a file cannot be written.
        """
        report, outputs = self.restore(companions=True)
        if self.config.cards:
            outputs["cards"] = self.names.cards
            with atomic_output(outputs["cards"]) as partial:
                write_image(
                    partial,
                    Frame(draw_cards([self.cards[key] for key in sorted(self.cards)])),
                    ImageMeta(),
                    self.config.label,
                )
            rows = {key: row for row, key in enumerate(sorted(self.cards))}
            for key, face in zip(sorted(self.tally.faces), report["faces"], strict=True):
                face["card"] = rows.get(key)
        shots = self.shots.write(self.names, self.config.label)
        for face in report["faces"]:
            face["best_frames"] = shots.get(face["track"], []) if face["track"] is not None else []
            outputs |= {f"face{face['track']}_{i}": Path(s["file"]) for i, s in enumerate(face["best_frames"], 1)}
        outputs["report"] = self.names.report
        report["outputs"] = {role: str(path) for role, path in outputs.items()}
        with atomic_output(outputs["report"]) as partial:
            partial.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
        return FileResult(outputs, report)

    def restore(self, companions: bool) -> tuple[Report, dict[str, Path]]:
        """Reads, restores and writes the file frame by frame; a photo is a clip of one frame.

        Args:
            companions: whether comparison and frames log are written beside the result.

        Returns:
            The report's data, and the written files by role.

        Raises:
            InputError: if no frame can be decoded, or the reference ends too early.
            OutputError: if a file cannot be written.
        """
        with ExitStack() as stack:
            with self.clock.stage("read"):
                reader = open_reader(self.names.source, self.kind, self.time_range)
                stack.enter_context(reader)
            notes_on_opening = list(reader.notes)
            reference = self._open_reference(stack)
            upscale = choose_upscale(self.config.upscale, self.kind, reader.info.width, reader.info.height)
            writer = stack.enter_context(self._writer(reader, upscale, companions))
            self._stream(reader, reference, writer, upscale)
            if self.tally.frames == 0:
                if self.time_range is None:
                    raise InputError(f"{self.names.source}: holds no frame that can be decoded; check the file")
                raise InputError(f"{self.names.source}: no frame begins in the part that start, end and preview select")
            copied = self._untouched(upscale)
            with self.clock.stage("write"):
                writer.finish(copied)
        self._note(notes_on_opening, reader.notes, writer.notes)
        if self.tally.invented:
            share = self.tally.invented / self.tally.frames
            self.notes.append(f"repair: {share:.1%} of the picture was filled; what is seen there is invented")
        if copied:
            self.notes.append("nothing to restore: the file was copied, not encoded again")
        return self._report(reader.info, writer.outputs, upscale), writer.outputs

    def _open_reference(self, stack: ExitStack) -> Iterator[Frame] | None:
        if self.reference is None:
            return None
        with self.clock.stage("reference"):
            reader = open_reader(self.reference, kind_of(self.reference), self.time_range)
            stack.enter_context(reader)
            return iter(reader)

    def _writer(self, reader: Reader, upscale: int, companions: bool) -> ResultWriter:
        compare, label, video = companions and self.wants_compare, self.config.label, self.config.video
        if isinstance(reader, PhotoReader):
            kind = PhotoWriter if reader.info.frames == 1 else PagesWriter
            return kind(reader, self.names, upscale, compare, label)
        if self.config.resume and isinstance(reader, VideoReader):
            segments = Segments(self.names, self.config, self.models.hashes, upscale)
            return SegmentedWriter(reader, self.names, segments, upscale, video.effort, log=companions, label=label)
        return ClipWriter(reader, self.names, upscale, video, log=companions, compare=compare, label=label)

    def _stream(self, reader: Reader, reference: Iterator[Frame] | None, writer: ResultWriter, upscale: int) -> None:
        """All frames that no earlier run wrote: restored, counted, written and compared."""
        state, context = ClipState(), Context(self.models, self.config, self.kind, upscale, self._tiles())
        if writer.checkpoint:
            last = writer.checkpoint
            state, self.tally, self.cards, self.shots = last.state, last.tally, last.cards, last.shots
            self.notes.append(f"resumed after {self.tally.frames} frames, where the last finished segment ended")
        with prefetch(reader) as prefetched:
            frames = islice(_timed(prefetched, self.clock, "read"), self.tally.frames, None)
            for frame, result, after in restore_video(frames, context, state):
                if self.kind == "photo":
                    result = _numbered_on(result, len(self.tally.faces))
                records = self._count(frame, result)
                with self.clock.stage("write"):
                    checkpoint = Checkpoint(after, self.tally, self.cards, self.shots)
                    writer.write(frame, result.pixels, frame_record(frame, records), checkpoint)
                if reference is not None:
                    with self.clock.stage("reference"):
                        self._compare(frame, result, reference)
                if self.progress and self.kind != "photo":
                    self.progress(self.tally.frames, reader.info.frames, len(self.tally.faces))

    def _tiles(self) -> Tiles | None:
        """What the background of a photo calls for each tile."""
        progress = self.progress
        if progress is None or self.kind != "photo":
            return None
        return lambda done, total: progress(done, total, len(self.tally.faces))

    def _count(self, frame: Frame, result: FrameResult) -> list[FaceRecord]:
        """Adds a frame to the totals, the cards and the best shots; returns the records of its faces."""
        self.shots.add(frame, result)
        for face in result.faces:
            key = face.track.id if face.track else face.number
            if wanted(self.cards, key, pasted(face) is not None, self.config.cards):
                self.cards[key] = card_of(face, frame.index if self.kind != "photo" or frame.index else None)
        return self.tally.add(result)

    def _compare(self, frame: Frame, result: FrameResult, reference: Iterator[Frame]) -> None:
        truth = next(reference, None)
        if truth is None:
            raise InputError(f"{self.reference}: ends before the input; the reference needs as many frames")
        if self.comparison is not None:
            self.comparison.add(result.pixels, truth.pixels, frame.pixels)

    def _untouched(self, upscale: int) -> bool:
        """Whether the result equals the source, so that the file is copied."""
        complete = self.time_range is None or self.kind == "photo"
        same = upscale == 1 and self.names.restored.suffix == self.names.source.suffix
        retimed = self.kind == "video" and self.config.video.fps
        return complete and same and not retimed and not self.tally.changed

    def _note(self, opened: list[str], read: list[str], written: list[str]) -> None:
        """Collects notes for the report; those that reading added, such as "2 damaged packets", count as errors."""
        self.notes.extend(opened)
        for note in (n for n in read if n not in opened):
            counted = re.fullmatch(r"(\d+) (.+)", note)
            self.tally.errors.update({counted[2]: int(counted[1])} if counted else {note: 1})
            self.notes.append(note)
        self.notes.extend(n for n in written if n not in self.notes)

    def _report(self, info: MediaInfo, outputs: Mapping[str, Path], upscale: int) -> Report:
        hashes = dict(self.models.hashes)
        self.tally.seconds.update(self.clock.seconds)
        reference = None
        if self.comparison is not None:
            hashes |= self.comparison.hashes
            reference = {"file": str(self.reference), **self.comparison.result()}
        return build(
            Run(
                info=info,
                source=str(self.names.source),
                outputs={role: str(path) for role, path in outputs.items()},
                config=self.config,
                upscale=upscale,
                tally=self.tally,
                weights=hashes,
                device=str(self.models.embedder.fc.weight.device),
                seconds=time.perf_counter() - self.start,
                notes=self.notes,
                reference=reference,
            )
        )


def _numbered_on(result: FrameResult, begin: int) -> FrameResult:
    """The same result with its faces numbered from `begin`, as a page's faces follow those of the pages before it."""
    if begin == 0:
        return result
    return replace(result, faces=tuple(replace(face, number=begin + face.number) for face in result.faces))


def _timed(items: Iterable[Item], clock: Clock, stage: str) -> Iterator[Item]:
    """The same items; the time spent waiting for them is added to the stage."""
    iterator = iter(items)
    while True:
        with clock.stage(stage):
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item
