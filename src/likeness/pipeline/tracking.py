"""Detection and tracking: the faces of a frame."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from likeness.ops.color import grey8
from likeness.pipeline.state import (
    ClipState,
    Clock,
    Context,
    DetectedFace,
)
from likeness.stages.detect.looks import find_faces, widths
from likeness.stages.temporal.config import VideoConfig
from likeness.stages.temporal.cuts import is_cut, thumbnail
from likeness.stages.temporal.reid import GalleryEntry
from likeness.stages.temporal.smoothing import smooth_pose
from likeness.stages.temporal.state import TrackState
from likeness.stages.temporal.tracking import associate, follow_tracks
from likeness.types import Faces, FloatArray, Frame, Pixels

SECOND_LOOK = 8  # detections of a clip without a face after which it gets a second look; each cut gets one too
_SHORTEST = 0.001  # seconds; some files give two frames the same time stamp


@dataclass(frozen=True)
class TrackedFrame:
    """The faces of one frame, largest first.

    Attributes:
        faces: detected, or tracked from the last frame.
        detected: whether the detector ran.
        grey, thumbnail: of the frame, in clips.
        gallery, next_id: as in `ClipState`, after this frame.
    """

    faces: tuple[DetectedFace, ...]
    detected: bool = True
    grey: Pixels | None = None
    thumbnail: FloatArray | None = None
    gallery: tuple[GalleryEntry, ...] = ()
    next_id: int = 0


def detect_and_track(
    frame: Frame, state: ClipState, context: Context, clock: Clock, faces: Faces | None = None
) -> TrackedFrame:
    """Finds the faces of a frame.

    In clips the detector runs every `video.detect_every` frames, at cuts, and where the optical flow loses a face. In
    between, the flow moves the landmarks. Where no face is found, a photo gets a second look at once, a clip at cuts
    and once in `SECOND_LOOK` detections.

    Args:
        frame: the frame.
        state: before it.
        context: detector and options.
        clock: of the frame.
        faces: known faces of a photo, largest first; None: detect them.
    """
    if not context.temporal:
        if faces is None:
            with clock.stage("detect"):
                faces = _found(frame, context)
                doubts = [_doubt(face, frame, context) for face in faces]
        else:
            doubts = [""] * len(faces)  # the caller vouches for them
        pairs = enumerate(zip(faces, doubts, strict=True))
        return TrackedFrame(
            tuple(
                DetectedFace(number=i, face=f, points=f.landmarks[0], doubt=d, notes=_note(str(f.looks[0])))
                for i, (f, d) in pairs
            )
        )
    config, last, next_id = context.config.video, state.last, state.next_id
    grey, thumb = grey8(frame.pixels), thumbnail(frame.pixels)
    cut = last is None or is_cut(last.thumbnail, thumb, config.cut)
    tracks: list[TrackState] = []
    if last is not None and not cut:
        with clock.stage("track"):
            tracks = follow_tracks(state.tracks, last.grey, grey)
    lost = not cut and len(tracks) < len(state.tracks)
    detected = cut or lost or state.frames_since_detection + 1 >= config.detect_every
    if detected:
        with clock.stage("detect"):
            second = cut or _second_look_due(frame, state, config)
            faces = _found(frame, context, {track.look for track in tracks}, second)
            tracks, next_id = associate(tracks, faces, config.match, config.detect_every, next_id)
            tracks = [_tested(track, frame, context, new=track.id >= state.next_id) for track in tracks]
    tracks.sort(key=lambda t: float(np.prod(t.box[2:] - t.box[:2])), reverse=True)
    seconds = _SHORTEST if last is None else max(_SHORTEST, float(frame.time - last.time))
    tracked = []
    for i, track in enumerate(tracks):
        points, pose = smooth_pose(track.landmarks, track.pose, seconds, config.smooth)
        opacity = 1.0 if cut else min(1.0, track.opacity + 1 / config.ramp)
        track = replace(track, pose=pose, opacity=opacity)
        face = _face_of(track)
        notes = _note(track.look)
        tracked.append(DetectedFace(number=i, face=face, points=points, track=track, doubt=track.doubt, notes=notes))
    return TrackedFrame(tuple(tracked), detected, grey, thumb, state.gallery, next_id)


def _found(frame: Frame, context: Context, looks: Collection[str] = (), second: bool = True) -> Faces:
    """The faces of a frame, found by the looks that found the tracks, or by a second look if no face is there."""
    config, names = context.config, sorted(filter(None, looks))
    return find_faces(context.models.detector, frame.pixels, config.detect, config.route.skip_below, names, second)


def _second_look_due(frame: Frame, state: ClipState, config: VideoConfig) -> bool:
    """Whether the first frame of a new period of `SECOND_LOOK` detections was passed since the last detection."""
    period = SECOND_LOOK * config.detect_every
    return frame.index // period > (frame.index - state.frames_since_detection - 1) // period


def _doubt(face: Faces, frame: Frame, context: Context, doubted: bool = False) -> str:
    """Why a face's landmarks are implausible. Faces that are too small to be restored are not tested."""
    if face.looks[0] or widths(face)[0] < context.config.route.skip_below:
        return ""  # the second look keeps plausible faces only
    return context.models.detector.doubt(frame.pixels, face, doubted)


def _tested(track: TrackState, frame: Frame, context: Context, new: bool) -> TrackState:
    """A new track, or one that was implausible so far, tested where the detector saw it."""
    if track.missed or not (new or track.doubt):
        return track
    seen = replace(track, landmarks=track.landmarks + track.correction)
    return replace(track, doubt=_doubt(_face_of(seen), frame, context, bool(track.doubt)))


def _note(look: str) -> tuple[str, ...]:
    return (f"found by a second look: {look}",) if look else ()


def _face_of(track: TrackState) -> Faces:
    return Faces(
        track.box[None].astype(np.float32),
        np.array([track.score], np.float32),
        track.landmarks[None].astype(np.float32),
        np.array([track.look]),
    )
