"""One file on its way through the pipeline: read, restore, write, compare, report."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from likeness.errors import ConfigError, InputError
from likeness.media.animation import SUFFIXES as ANIMATED
from likeness.media.animation import AnimationWriter
from likeness.media.files import PHOTO_SUFFIXES, atomic_output, kind_of
from likeness.media.gif import GifReader, GifWriter
from likeness.media.images import ImageMeta, Picture, read_image, write_image
from likeness.media.images import output_suffix as photo_suffix
from likeness.media.overlap import Behind, ahead, behind
from likeness.media.segments import OPTIONS as SEGMENT_OPTIONS
from likeness.media.segments import SegmentEncoder
from likeness.media.video import VideoReader, VideoWriter
from likeness.media.video import output_suffix as video_suffix
from likeness.pipeline.cards import Card, card_of, draw_cards, side_by_side
from likeness.pipeline.config import RestorerConfig, part_of
from likeness.pipeline.image import restore_image
from likeness.pipeline.reference import Comparison
from likeness.pipeline.report import Tally, build, frame_record
from likeness.pipeline.resume import SECONDS as PIECE_SECONDS
from likeness.pipeline.resume import Piece, Pieces
from likeness.pipeline.state import ClipState, Clock, Context, Models, RoutedFace
from likeness.pipeline.steps import restore_frame
from likeness.pipeline.video import restore_video
from likeness.stages.background.base import choose_upscale
from likeness.stages.background.lanczos import enlarge as enlarge_background
from likeness.types import Frame, MediaInfo, MediaKind, Part, Pixels

Progress = Callable[[int, int | None], None]
Item = TypeVar("Item")

_WRITABLE = PHOTO_SUFFIXES - {".mpo", ".heic", ".heif"}
_OPAQUE = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".bmp"})


@dataclass(frozen=True)
class FileResult:
    """What became of one file: its outputs by role ("restored", "compare", "cards", "report", "frames")."""

    outputs: Mapping[str, Path]
    report: Mapping[str, Any]

    @property
    def summary(self) -> str:
        """The line for a person."""
        return str(self.report["summary"])


def target_name(source: Path, kind: MediaKind) -> str:
    """The result's name: the input's own, its suffix changed only where that container is not written."""
    if kind == "video":
        return source.stem + video_suffix(source)
    animated = source.suffix.lower() in ANIMATED | {".gif"}
    return source.stem + ".gif" if kind == "gif" and not animated else source.name


class Job:
    """Everything that belongs to one file alone; used once."""

    def __init__(
        self,
        models: Models,
        config: RestorerConfig,
        source: Path,
        folder: Path,
        target: Path,
        kind: MediaKind,
        reference: Path | None,
        progress: Progress | None,
    ) -> None:
        self.models, self.config, self.source, self.folder = models, config, source, folder
        self.target, self.kind, self.reference, self.progress = target, kind, reference, progress
        self.tally, self.clock, self.cards = Tally(), Clock(), dict[int, Card]()
        self.notes: list[str] = []
        self.part = part_of(config)
        self.comparison = Comparison(models, config.weights.lpips) if reference else None
        self.start = time.perf_counter()

    @property
    def wants_compare(self) -> bool:
        """Whether before | after is written."""
        return self.config.compare == "yes" or (self.config.compare == "auto" and self.kind != "video")

    def _untouched(self, upscale: int) -> bool:
        """Whether nothing of the file is to be changed, so that it is copied as it is."""
        whole = self.part is None or self.kind == "photo"
        return whole and not self.tally.changed and upscale == 1 and self.config.background.name == "lanczos"

    def beside(self, ending: str) -> Path:
        """A file beside the result, named after the source."""
        return self.folder / f"{self.source.stem}_{ending}"

    def photo(self) -> FileResult:
        """A still picture."""
        with self.clock.stage("read"):
            picture = read_image(self.source)
            truth = read_image(self.reference).frame.pixels if self.reference else None
        frame = picture.frame
        self.notes.extend(picture.notes)
        if self.part is not None:
            self.notes.append("start, end and preview are for clips: the whole photo was taken")
        upscale = choose_upscale(self.config.upscale, "photo", picture.info.width, picture.info.height)
        result = restore_image(frame.pixels, Context(self.models, self.config, "photo", upscale))
        self._count(result.faces, result.seconds, None)
        if self.comparison is not None and truth is not None:
            with self.clock.stage("reference"):
                self.comparison.add(result.pixels, truth, frame.pixels)
        untouched = self._untouched(upscale)
        suffix = self.target.suffix if untouched else _photo_suffix(self.target, picture)
        target = self.target.with_suffix(suffix)
        if target != self.target:
            self.notes.append(f"{self.target.suffix or 'no suffix'} became {suffix}, which can hold the result")
        outputs = {"restored": target}
        with self.clock.stage("write"), atomic_output(target) as partial:
            if untouched:
                shutil.copyfile(self.source, partial)
                self.notes.append("nothing to restore: the file was copied, not encoded again")
            else:
                alpha = None if frame.alpha is None else enlarge_background(frame.alpha, upscale)
                self.notes.extend(write_image(partial, Frame(result.pixels, alpha=alpha), picture.meta))
        if self.wants_compare:
            outputs["compare"] = self.beside(f"compare{_photo_suffix(self.target, picture)}")
            with self.clock.stage("write"), atomic_output(outputs["compare"]) as partial:
                write_image(partial, Frame(side_by_side(frame.pixels, result.pixels)), picture.meta)
        return self._finish(picture.info, outputs, upscale)

    def clip(self) -> FileResult:
        """A video or GIF."""
        outputs = {"restored": self.target, "frames": self.beside("frames.jsonl")}
        compare = None
        if self.wants_compare:
            compare = outputs["compare"] = self.beside(f"compare{self.target.suffix}")
        report = self.stream(outputs["frames"], compare)
        return self._finish_with(report, outputs)

    def stream(self, frames_log: Path | None, compare: Path | None) -> dict[str, Any]:
        """Reads, restores and writes frame by frame; returns the report's data.

        Raises:
            InputError: if no frame can be decoded, or the reference ends too early.
        """
        config = self.config
        if config.resume and self.kind == "video":
            return self._stream_in_pieces(frames_log)
        with ExitStack() as stack:
            reader = _reader(self.source, self.kind, self.part)
            stack.enter_context(reader)
            known = list(reader.notes)
            info = reader.info
            upscale = choose_upscale(config.upscale, self.kind, info.width, info.height)
            width, height = info.width * upscale, info.height * upscale
            partial = stack.enter_context(atomic_output(self.target))
            side = stack.enter_context(atomic_output(compare)) if compare else None
            log_path = stack.enter_context(atomic_output(frames_log)) if frames_log else None
            truth = _reader(self.reference, kind_of(self.reference), self.part) if self.reference else None
            if truth:
                stack.enter_context(truth)
            truths = iter(truth) if truth else None
            with ExitStack() as writers:
                effort = config.video.effort
                writer = _writer(partial, reader, width, height, effort)
                second = _writer(side, reader, 2 * width + 4, height, effort) if side else None
                for opened in (writer, second):
                    if opened:
                        writers.enter_context(opened)
                log = writers.enter_context(log_path.open("w")) if log_path else None

                def write(done: tuple[Frame, Pixels]) -> None:
                    frame, pixels = done
                    alpha = None if frame.alpha is None else enlarge_background(frame.alpha, upscale)
                    writer.write(Frame(pixels, frame.index, frame.time, frame.duration, alpha))
                    if second:
                        both = side_by_side(frame.pixels, pixels)
                        second.write(Frame(both, frame.index, frame.time, frame.duration))

                # Entered after what they read from and write to, so that they are done before that is closed.
                queue = writers.enter_context(behind(write))
                frames = _timed(writers.enter_context(ahead(reader)), self.clock, "read")
                context = Context(self.models, config, self.kind, upscale)
                for frame, result, _ in restore_video(frames, context):
                    records = self._count(result.faces, result.seconds, frame.index)
                    with self.clock.stage("write"):
                        if log:
                            log.write(json.dumps(frame_record(frame, records), allow_nan=False) + "\n")
                        queue.put((frame, result.pixels))
                    if self.comparison is not None and truths is not None:
                        with self.clock.stage("reference"):
                            self._compare(result.pixels, frame, truths)
                    if self.progress:
                        self.progress(self.tally.frames, info.frames)
            self._remember(known, reader.notes, writer.notes)
            if self.tally.frames == 0:
                where = "" if self.part is None else " in the part that start, end and preview name"
                raise InputError(f"{self.source}: holds no frame that can be decoded{where}; check the file")
            if self._untouched(upscale) and self.target.suffix == self.source.suffix:
                shutil.copyfile(self.source, partial)
                self.notes.append("nothing to restore: the file was copied, not encoded again")
        return self._report(info, {"restored": self.target}, upscale)

    def _stream_in_pieces(self, frames_log: Path | None) -> dict[str, Any]:
        """The same for a video whose finished pieces outlive this run; goes on after the last of them.

        Raises:
            ConfigError: for a reference, whose figures would have to outlive it, too.
        """
        config = self.config
        if self.reference is not None:
            raise ConfigError("resume: got true with a reference, which is compared in one run; leave one of them out")
        with ExitStack() as stack:
            reader = VideoReader(self.source, self.part)
            stack.enter_context(reader)
            known, info = list(reader.notes), reader.info
            upscale = choose_upscale(config.upscale, "video", info.width, info.height)
            size = info.width * upscale, info.height * upscale
            pieces = Pieces(self.target, self.source, config, self.models.hashes, upscale)
            state = ClipState()
            if done := pieces.last():
                state, self.tally, self.cards = done.state, done.tally, done.cards
                self.notes.append(f"{len(pieces)} pieces were done already, {self.tally.frames} frames")
            skip = self.tally.frames
            encoder: SegmentEncoder | None = None
            queue: Behind[Frame] | None = None
            log: list[str] = []
            begun = Fraction(0)

            def keep() -> None:
                if encoder is not None and queue is not None:
                    with self.clock.stage("write"):
                        queue.finish()
                    piece = Piece(encoder.finish(), list(log), state, self.tally, self.cards, begun)
                    with self.clock.stage("write"):
                        pieces.add(piece)
                    log.clear()

            stack.callback(lambda: queue.stop() if queue else None)  # after an error nobody else does
            for frame in islice(_timed(stack.enter_context(ahead(reader)), self.clock, "read"), skip, None):
                if encoder is None or queue is None or frame.time - begun >= PIECE_SECONDS:
                    keep()
                    encoder = SegmentEncoder(reader.source, self.target.suffix, *size, config.video.effort)
                    begun = frame.time
                    queue = Behind(encoder.write)
                result, state = restore_frame(frame, state, Context(self.models, config, "video", upscale))
                records = self._count(result.faces, result.seconds, frame.index)
                with self.clock.stage("write"):
                    log.append(json.dumps(frame_record(frame, records), allow_nan=False))
                    queue.put(Frame(result.pixels, frame.index, frame.time, frame.duration))
                if self.progress:
                    self.progress(self.tally.frames, info.frames)
            keep()
            if self.tally.frames == 0:
                pieces.remove()
                raise InputError(f"{self.source}: holds no frame that can be decoded; check the file")
            partial = stack.enter_context(atomic_output(self.target))
            with VideoWriter(partial, reader, *size, SEGMENT_OPTIONS, config.video.effort) as writer:
                writer.write_encoded(pieces.pictures())
            self._remember(known, reader.notes, writer.notes)
            if self._untouched(upscale) and self.target.suffix == self.source.suffix:
                shutil.copyfile(self.source, partial)
                self.notes.append("nothing to restore: the file was copied, not encoded again")
            if frames_log:
                with stack.enter_context(atomic_output(frames_log)).open("w") as file:
                    file.writelines(f"{line}\n" for line in pieces.log())
        pieces.remove()
        return self._report(info, {"restored": self.target}, upscale)

    def _compare(self, restored: np.ndarray, frame: Frame, truths: Iterator[Frame]) -> None:
        good = next(truths, None)
        if good is None:
            raise InputError(f"{self.reference}: ends before the input; the reference needs as many frames")
        if self.comparison is not None:
            self.comparison.add(restored, good.pixels, frame.pixels)

    def _remember(self, known: list[str], read: list[str], written: list[str]) -> None:
        """Notes for the report; what reading counted while it went on are errors of the file."""
        self.notes.extend(known)
        for note in (n for n in read if n not in known):
            counted = re.fullmatch(r"(\d+) (.+)", note)
            self.tally.errors.update({counted[2]: int(counted[1])} if counted else {note: 1})
            self.notes.append(note)
        self.notes.extend(n for n in written if n not in self.notes)

    def _count(
        self, faces: tuple[RoutedFace, ...], seconds: Mapping[str, float], frame: int | None
    ) -> list[dict[str, Any]]:
        for face in faces:
            key = face.track.id if face.track else face.number
            if key not in self.cards and len(self.cards) < self.config.cards:
                self.cards[key] = card_of(face, frame)
        return self.tally.add(faces, seconds)

    def _report(self, info: MediaInfo, outputs: Mapping[str, Path], upscale: int) -> dict[str, Any]:
        hashes = dict(self.models.hashes)
        self.tally.seconds.update(self.clock.seconds)
        reference = None
        if self.comparison is not None:
            hashes |= self.comparison.hashes
            reference = {"file": str(self.reference), **self.comparison.result()}
        return build(
            info,
            str(self.source),
            {role: str(path) for role, path in outputs.items()},
            self.config,
            upscale,
            self.tally,
            hashes,
            str(self.models.embedder.fc.weight.device),
            time.perf_counter() - self.start,
            self.notes,
            reference,
        )

    def _finish(self, info: MediaInfo, outputs: dict[str, Path], upscale: int) -> FileResult:
        return self._finish_with(self._report(info, outputs, upscale), outputs)

    def _finish_with(self, report: dict[str, Any], outputs: dict[str, Path]) -> FileResult:
        """Writes cards and report."""
        if self.config.cards:
            outputs["cards"] = self.beside("faces.png")
            with atomic_output(outputs["cards"]) as partial:
                write_image(partial, Frame(draw_cards(list(self.cards.values()))), ImageMeta())
        outputs["report"] = self.beside("report.json")
        report["outputs"] = {role: str(path) for role, path in outputs.items()}
        with atomic_output(outputs["report"]) as partial:
            partial.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
        return FileResult(outputs, report)


def _photo_suffix(target: Path, picture: Picture) -> str:
    """The input's own suffix where that format can hold the result, else one that can."""
    suffix, frame = target.suffix.lower(), picture.frame
    deep = frame.pixels.dtype == np.uint16 and suffix != ".png"
    if suffix in _WRITABLE and not deep and not (frame.alpha is not None and suffix in _OPAQUE):
        return target.suffix
    return photo_suffix(picture)


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


def _reader(path: Path, kind: MediaKind, part: Part | None) -> VideoReader | GifReader:
    return VideoReader(path, part) if kind == "video" else GifReader(path, part)


def _writer(
    path: Path, reader: VideoReader | GifReader, width: int, height: int, effort: str
) -> VideoWriter | GifWriter | AnimationWriter:
    if isinstance(reader, VideoReader):
        return VideoWriter(path, reader, width, height, effort=effort)
    return (AnimationWriter if path.suffix.lower() in ANIMATED else GifWriter)(path, reader.info)
