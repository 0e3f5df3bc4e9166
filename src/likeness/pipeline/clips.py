"""Clips: the same data flow over time, with tracks between the frames. Memory does not grow with length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice

import numpy as np

from likeness.pipeline.config import RestorerConfig
from likeness.pipeline.state import Clock, FaceResult, FrameResult, Held, Models, Waiting
from likeness.pipeline.steps import CROP, before_each, finish, look, restore
from likeness.stages.align import align
from likeness.stages.identity import embed
from likeness.stages.temporal.cuts import is_cut, thumbnail
from likeness.stages.temporal.flow import grey8
from likeness.stages.temporal.reentry import Known, remember, returned
from likeness.stages.temporal.smooth import Pose, steady
from likeness.stages.temporal.track import Track, associate, follow
from likeness.types import Faces, FloatArray, Frame, MediaKind, Pixels

_SHORTEST = 0.001  # seconds; some files give two frames one time stamp


@dataclass(frozen=True)
class ClipState:
    """What is remembered from one frame to the next; every frame makes a new one.

    Attributes:
        tracks: the faces.
        held: by track, what was decided.
        grey, thumb: of the last frame; None before the first.
        since: frames since the last detection.
        next_id: next free track number.
        fades: by track, 0..1, below 1 while a face that entered within a shot fades in.
        poses: by track, where it was aligned.
        time: of the last frame in seconds; None before the first.
        known: faces seen lately, those that are lost among them.
        lost: by number, what was held of those.
        last: the last frame and its result; None before the first.
    """

    tracks: tuple[Track, ...] = ()
    held: dict[int, Held] = field(default_factory=dict)
    grey: Pixels | None = None
    thumb: FloatArray | None = None
    since: int = 0
    next_id: int = 0
    fades: dict[int, float] = field(default_factory=dict)
    poses: dict[int, Pose] = field(default_factory=dict)
    time: Fraction | None = None
    known: tuple[Known, ...] = ()
    lost: dict[int, Held] = field(default_factory=dict)
    last: tuple[Pixels, FrameResult] | None = None


def restore_clip(
    frames: Iterable[Frame], models: Models, config: RestorerConfig, kind: MediaKind, upscale: int
) -> Iterator[tuple[Frame, FrameResult]]:
    """Restores frame after frame.

    Detection runs every `video.detect_every` frames, at cuts, and when the flow loses a face; between
    them landmarks are carried by optical flow, and route and guard hold. A frame that repeats the one before it, bit
    for bit, gets its result.

    Yields:
        The source frame and its result, in order.
    """
    state, frames = ClipState(), iter(frames)
    while group := list(islice(frames, config.video.batch)):
        if len(group) == 1:
            result, state = step(state, group[0], models, config, kind, upscale)
            yield group[0], result
            continue
        # Which faces there are does not depend on how the last frame's were restored, so their experts may wait until
        # all frames of the group were looked at.
        seen, ahead, before = {}, state, state.last and state.last[0]
        for frame in group:
            if not _repeats(frame, before):
                sighting, waiting = _see(ahead, frame, models, config, kind)
                seen[frame.index] = sighting, waiting
                ahead = _remembered(ahead, sighting, waiting.faces)
            before = frame.pixels
        restored = dict(zip(seen, restore([waiting for _, waiting in seen.values()], models), strict=True))
        for frame in group:
            if frame.index in seen:
                result, state = _finish(
                    state, seen[frame.index][0], restored[frame.index], models, config, kind, upscale
                )
            else:
                result = _again(state)
            yield frame, result


@dataclass(frozen=True)
class Sighting:
    """The faces of one frame, followed or found; it does not depend on how any was restored.

    Attributes:
        frame: which.
        tracks: its faces, the largest first.
        poses: where each is aligned: five points, and what its track remembers.
        fades: of each, 0..1.
        detecting: whether the detector ran.
        cut: whether a shot begins with it.
        grey, thumb, next_id, known: as in `ClipState`.
        clock: of this frame.
    """

    frame: Frame
    tracks: tuple[Track, ...]
    poses: tuple[tuple[FloatArray, Pose], ...]
    fades: tuple[float, ...]
    detecting: bool
    cut: bool
    grey: Pixels
    thumb: FloatArray
    next_id: int
    known: tuple[Known, ...]
    clock: Clock


def step(
    state: ClipState, frame: Frame, models: Models, config: RestorerConfig, kind: MediaKind, upscale: int
) -> tuple[FrameResult, ClipState]:
    """One frame: find or follow the faces, process them, remember what holds."""
    if _repeats(frame, state.last and state.last[0]):
        return _again(state), state
    sighting, waiting = _see(state, frame, models, config, kind)
    (faces,) = restore([waiting], models)
    return _finish(state, sighting, faces, models, config, kind, upscale)


def _repeats(frame: Frame, before: Pixels | None) -> bool:
    return before is not None and np.array_equal(frame.pixels, before)


def _again(state: ClipState) -> FrameResult:
    """The last result, which took no time again."""
    assert state.last is not None  # only a frame that equals an earlier one asks
    result = state.last[1]
    return replace(result, faces=tuple(replace(f, milliseconds=0.0) for f in result.faces), seconds={})


def _see(
    state: ClipState, frame: Frame, models: Models, config: RestorerConfig, kind: MediaKind
) -> tuple[Sighting, Waiting]:
    """Finds or follows the faces, and looks at each."""
    s = _sight(state, frame, models, config)
    held, points = _held_of(state, s), [points for points, _ in s.poses]
    looked = look(frame.pixels, _faces(s.tracks), models, config, kind, held, points, s.detecting, s.clock)
    return s, Waiting(frame.pixels, looked, before_each(looked, held), s.clock)


def _sight(state: ClipState, frame: Frame, models: Models, config: RestorerConfig) -> Sighting:
    clock = Clock()
    grey, thumb = grey8(frame.pixels), thumbnail(frame.pixels)
    cut = state.thumb is None or is_cut(state.thumb, thumb, config.video.cut)
    tracks, next_id, known = list(state.tracks), state.next_id, state.known
    lost = False
    if cut:
        tracks = []
    elif state.grey is not None:
        with clock.stage("track"):
            followed = follow(tracks, state.grey, grey)
        lost = len(followed) < len(tracks)
        tracks = followed
    detecting = cut or lost or state.since + 1 >= config.video.detect_every
    if detecting:
        with clock.stage("detect"):
            found = models.detector.detect([frame.pixels])[0]
        tracks, next_id = associate(tracks, found, config.video, next_id)
        with clock.stage("track"):
            tracks, next_id, known = _recognised(tracks, state, frame, models, config)
    tracks.sort(key=_area, reverse=True)
    fades = (1.0 if cut else min(1.0, state.fades.get(t.id, 0.0) + 1 / config.video.ramp) for t in tracks)
    passed = max(_SHORTEST, float(frame.time - state.time)) if state.time is not None else _SHORTEST
    poses = (steady(t.landmarks, state.poses.get(t.id), passed, config.video.smooth) for t in tracks)
    return Sighting(
        frame, tuple(tracks), tuple(poses), tuple(fades), detecting, cut, grey, thumb, next_id, known, clock
    )  # fmt: skip


def _finish(
    state: ClipState,
    s: Sighting,
    faces: Sequence[FaceResult],
    models: Models,
    config: RestorerConfig,
    kind: MediaKind,
    upscale: int,
) -> tuple[FrameResult, ClipState]:
    """What follows once the experts have run: the rest of the frame, and what is remembered of it."""
    result = finish(
        s.frame.pixels, faces, models, config, kind, upscale, _held_of(state, s), s.fades, s.detecting, s.clock
    )  # fmt: skip
    named = tuple(replace(r, track=t.id) for r, t in zip(result.faces, s.tracks, strict=True))
    result = replace(result, faces=named)
    return result, replace(_remembered(state, s, named), last=(s.frame.pixels, result))


def _held_of(state: ClipState, s: Sighting) -> list[Held | None]:
    past = state.lost | state.held
    found = [past.get(t.id) for t in s.tracks]
    # A known face may keep its number over a cut, but another shot has another light.
    return [replace(held, gain=None) if held and s.cut else held for held in found]


def _remembered(state: ClipState, s: Sighting, faces: Sequence[FaceResult]) -> ClipState:
    """The state after a frame."""
    past, present = state.lost | state.held, {t.id for t in s.tracks}
    return ClipState(
        tracks=s.tracks,
        held={t.id: _held(r) for t, r in zip(s.tracks, faces, strict=True)},
        grey=s.grey,
        thumb=s.thumb,
        since=0 if s.detecting else state.since + 1,
        next_id=s.next_id,
        fades={t.id: fade for t, fade in zip(s.tracks, s.fades, strict=True)},
        poses={t.id: pose for t, (_, pose) in zip(s.tracks, s.poses, strict=True)},
        time=s.frame.time,
        known=s.known,
        # Neither a share to ramp from nor a face to fuse with outlives the track, nor what its expert kept.
        lost={
            k.id: replace(past[k.id], share=None, memory=None, past=None, gain=None)
            for k in s.known
            if k.id in past and k.id not in present
        },
    )


def _recognised(
    tracks: list[Track], state: ClipState, frame: Frame, models: Models, config: RestorerConfig
) -> tuple[list[Track], int, tuple[Known, ...]]:
    """After a detection: new tracks of known faces take their old numbers, the others new ones without a gap.

    Returns:
        The tracks, the next free number, and the faces known now.
    """
    reentry = config.video.reentry
    views = {
        t.id: embed(models.embedder, align(frame.pixels, t.landmarks, CROP).image, 1).cpu().numpy() for t in tracks
    }
    fresh = {number: view for number, view in views.items() if number >= state.next_id}
    active = [t.id for t in tracks if t.id < state.next_id]
    names = returned(fresh, state.known, active, reentry)
    next_id = state.next_id
    for number in fresh:
        if number not in names:
            names[number], next_id = next_id, next_id + 1
    named = [replace(t, id=names.get(t.id, t.id)) for t in tracks]
    seen = {names.get(number, number): view for number, view in views.items()}
    return named, next_id, remember(state.known, seen, frame.time, reentry)


def _held(r: FaceResult) -> Held:
    if r.restored is None:
        return Held(r.decision, r.profile, r.verdict, memory=r.memory, gain=r.gain)
    return Held(r.decision, r.profile, r.verdict, r.share, r.memory, r.restored.past, r.since, r.gain)


def _area(track: Track) -> float:
    return float(np.prod(track.box[2:] - track.box[:2]))


def _faces(tracks: Sequence[Track]) -> Faces:
    if not tracks:
        return Faces.empty()
    return Faces(
        np.stack([t.box for t in tracks]).astype(np.float32),
        np.array([t.score for t in tracks], np.float32),
        np.stack([t.landmarks for t in tracks]).astype(np.float32),
    )
