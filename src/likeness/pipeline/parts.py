"""A long video restored in parts, each on its own, and joined to what one run gives.

A part begins with a warm-up: frames before it are restored for their state and not written. Where parts meet, the
faces of a frame that both saw tell which tracks are the same.
"""

from __future__ import annotations

import json
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from likeness.errors import InputError
from likeness.media.naming import OutputNames
from likeness.media.prefetch import prefetch
from likeness.media.readers import Reader
from likeness.media.segments import SegmentEncoder
from likeness.media.video_reader import VideoReader
from likeness.media.video_source import open_video, picture_stream, probe
from likeness.pipeline.cards import wanted
from likeness.pipeline.config import RestorerConfig
from likeness.pipeline.job import Job
from likeness.pipeline.report import Tally, frame_record
from likeness.pipeline.report_types import FaceRecord
from likeness.pipeline.resume import Segment, SegmentedWriter, SegmentStore
from likeness.pipeline.state import ClipState, Context, Models
from likeness.pipeline.video import restore_video
from likeness.pipeline.writers import Checkpoint, ResultWriter, restored_frame
from likeness.stages.background.base import Background, BackgroundPlan, Progress, choose_upscale
from likeness.stages.temporal.reid import match_lost
from likeness.stages.temporal.tracking import iou
from likeness.types import Frame, MediaKind, Pixels, TimeRange

PART_SECONDS = Fraction(60)
WARM_UP_SECONDS = Fraction(2)


@dataclass(frozen=True)
class Part:
    """Frames of a video, counted and timed from its first frame.

    Attributes:
        number: of the part, from 0.
        first: number of its first frame.
        begin: time of that frame, in seconds.
        warm_first, warm_begin: of the first frame of the warm-up.
        end: exclusive; None = to the video's end.
    """

    number: int
    first: int
    begin: Fraction
    warm_first: int
    warm_begin: Fraction
    end: Fraction | None


@dataclass(frozen=True)
class PartSegment(Segment):
    """The segment that a part gives; its tracks are numbered from 0.

    Attributes:
        before: faces of the last frame of the warm-up, which is the last frame of the part before.
        last: faces of its own last frame.
        notes: for a person, of reading.
        seconds: that it took.
    """

    before: list[FaceRecord]
    last: list[FaceRecord]
    notes: list[str]
    seconds: float


def plan_parts(path: Path, config: RestorerConfig) -> list[Part]:
    """The parts of a video; a single one where it is short, or cannot be cut.

    A video cannot be cut if a packet lacks its time stamp, if `start`, `end`, `preview`, `resume` or `video.fps` is
    given, or if `compare=yes` or `best_frames` asks for what one run must collect.
    """
    whole = [Part(0, 0, Fraction(0), 0, Fraction(0), None)]
    limited = config.start is not None or config.end is not None or config.preview is not None
    collected = config.compare == "yes" or config.best_frames > 0
    if limited or collected or config.resume or config.video.fps or probe(path).alpha:
        return whole
    times = _frame_times(path)
    if not times or times[-1] < 2 * PART_SECONDS:
        return whole
    parts: list[Part] = []
    first = 0
    while first < len(times) and (not parts or times[-1] - times[first] > PART_SECONDS / 2):
        # Detections keep the rhythm of a single run where their cadence divides the first frame's number.
        warm = bisect_left(times, times[first] - WARM_UP_SECONDS) if first else 0
        warm -= warm % config.video.detect_every
        parts.append(Part(len(parts), first, times[first], warm, times[warm], None))
        first = bisect_left(times, times[first] + PART_SECONDS)
    ends = [part.begin for part in parts[1:]]
    return [replace(part, end=end) for part, end in zip(parts, [*ends, None], strict=True)]


def _frame_times(path: Path) -> list[Fraction]:
    """Times of all frames after the first one, without decoding; empty if a packet has none, or two have the same."""
    with open_video(path) as container:
        stream = picture_stream(container, path)
        stamps = [packet.pts for packet in container.demux(stream) if packet.size]
        tick = stream.time_base
    if tick is None or None in stamps or len(set(stamps)) < len(stamps):
        return []
    known = sorted(stamp for stamp in stamps if stamp is not None)
    return [(stamp - known[0]) * tick for stamp in known]


class PartJob(Job):
    """Restores one part of a video into the store of its segments."""

    def __init__(self, models: Models, config: RestorerConfig, names: OutputNames, part: Part) -> None:
        super().__init__(models, config, names, "video")
        self.part, self.time_range = part, TimeRange(part.warm_begin, part.end)

    def restore_part(self) -> None:
        """Writes the segment; it appears in the store when it is complete.

        Raises:
            InputError: if the part holds no frame.
            OutputError: if it cannot be encoded or stored.
        """
        part = self.part
        with VideoReader(self.names.source, self.time_range) as reader, prefetch(reader) as frames:
            source, info = reader.source, reader.info
            upscale = choose_upscale(self.config.upscale, self.kind, info.width, info.height)
            size = info.width * upscale, info.height * upscale
            suffix = self.names.restored.suffix
            encoder = SegmentEncoder(source, suffix, *size, self.config.video.effort)
            context = Context(self._with_first_plan(), self.config, self.kind, upscale)
            faces: list[FaceRecord] = []
            before: list[FaceRecord] = []
            log: list[str] = []
            numbered = (replace(frame, index=part.warm_first + frame.index) for frame in frames)
            for frame, result, after in restore_video(numbered, context):
                gallery = after.gallery
                if frame.index < part.first:
                    before = Tally().add(result)
                    continue
                faces = self._count(frame, result)
                log.append(json.dumps(frame_record(frame, faces), allow_nan=False))
                encoder.write(restored_frame(frame, result.pixels, upscale))
        if not log:
            raise InputError(f"{self.names.source}: no frame can be decoded from {float(part.begin):.1f} s on")
        self._note([], reader.notes, [])
        checkpoint = Checkpoint(ClipState(gallery=gallery), self.tally, self.cards, self.shots)
        seconds = time.perf_counter() - self.start
        segment = PartSegment(encoder.finish(), log, checkpoint, before, faces, self.notes, seconds)
        SegmentStore(self.names.segments).put(part.number, segment)

    def _with_first_plan(self) -> Models:
        """The networks, with the background as the video's first frame decides it."""
        with VideoReader(self.names.source) as reader:
            first = next(iter(reader))
        background = self.models.background
        plan = background.plan(first.pixels, self.kind)
        return replace(self.models, background=_Planned(background, plan))


@dataclass(frozen=True)
class _Planned:
    """A background whose plan is known."""

    background: Background
    known: BackgroundPlan

    def plan(self, pixels: Pixels, kind: MediaKind) -> BackgroundPlan:
        return self.known

    def enlarge(self, pixels: Pixels, factor: int, plan: BackgroundPlan, progress: Progress | None = None) -> Pixels:
        return self.background.enlarge(pixels, factor, plan, progress)


class JoinJob(Job):
    """Joins the segments of all parts: the same files and report as of one run."""

    def _writer(self, reader: Reader, upscale: int, companions: bool) -> ResultWriter:
        assert isinstance(reader, VideoReader)
        store, video = SegmentStore(self.names.segments), self.config.video
        return SegmentedWriter(reader, self.names, store, upscale, video.effort, companions, self.config.label)

    def _stream(self, reader: Reader, reference: Iterator[Frame] | None, writer: ResultWriter, upscale: int) -> None:
        """Adds up the parts; tracks get the numbers that one run gives them."""
        store = SegmentStore(self.names.segments)
        previous: PartSegment | None = None
        for number in range(len(store)):
            segment = store.read(number)
            assert isinstance(segment, PartSegment)
            numbers = self._track_numbers(segment, previous)
            previous = renumbered(segment, numbers)
            store.put(number, previous)
            self.tally.join(segment.after.tally, numbers)
            for track, card in segment.after.cards.items():
                if wanted(self.cards, numbers[track], card.restored, self.config.cards):
                    title = card.lines[0].replace(f"face {track + 1},", f"face {numbers[track] + 1},")
                    self.cards[numbers[track]] = replace(card, lines=(title, *card.lines[1:]))
            self.notes.extend(note for note in segment.notes if note not in self.notes)
            self.start -= segment.seconds  # the report tells the work of all parts
        self.notes.append(f"restored in {len(store)} parts")

    def _track_numbers(self, segment: PartSegment, previous: PartSegment | None) -> dict[int, int]:
        """The number in the whole video of each track of a part."""
        numbers: dict[int, int] = {}
        if previous is not None:
            numbers = same_tracks(segment.before, previous.last, self.config.video.match)
            own = {entry.id: entry.embedding for entry in segment.after.state.gallery if entry.id not in numbers}
            lost = previous.after.state.gallery
            numbers |= match_lost(own, lost, set(numbers.values()), self.config.video.reid)
        free = max(self.tally.faces, default=-1) + 1
        for track in sorted(segment.after.tally.faces):
            if track not in numbers:
                numbers[track], free = free, free + 1
        return numbers


def same_tracks(faces: Sequence[FaceRecord], others: Sequence[FaceRecord], least: float) -> dict[int, int]:
    """Track numbers of the faces of one frame, as two runs gave them; pairs overlap (IoU) by `least` or more."""
    boxes = (np.array([face["box"] for face in some], np.float32).reshape(-1, 4) for some in (faces, others))
    overlaps = iou(*boxes)
    numbers: dict[int, int] = {}
    for place in np.argsort(-overlaps, axis=None):
        i, j = divmod(int(place), len(others))
        track, other = faces[i]["track"], others[j]["track"]
        if overlaps[i, j] < least or track is None or other is None:
            break
        if track not in numbers and other not in numbers.values():
            numbers[track] = other
    return numbers


def renumbered(segment: PartSegment, numbers: dict[int, int]) -> PartSegment:
    """The same segment with other track numbers; tracks without one end before it."""
    lines = [json.loads(line) for line in segment.log]
    log = [json.dumps({**line, "faces": _renamed(line["faces"], numbers)}, allow_nan=False) for line in lines]
    gallery = tuple(replace(e, id=numbers[e.id]) for e in segment.after.state.gallery if e.id in numbers)
    after = replace(segment.after, state=ClipState(gallery=gallery))
    return replace(segment, log=log, last=_renamed(segment.last, numbers), after=after)


def _renamed(faces: Sequence[FaceRecord], numbers: dict[int, int]) -> list[FaceRecord]:
    return [{**face, "track": None if face["track"] is None else numbers[face["track"]]} for face in faces]
