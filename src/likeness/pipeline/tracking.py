"""Detection and tracking: the faces of a frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from likeness.ops.color import grey8
from likeness.pipeline.state import (
    ClipState,
    Clock,
    Context,
    DetectedFace,
)
from likeness.stages.temporal.cuts import is_cut, thumbnail
from likeness.stages.temporal.reid import GalleryEntry
from likeness.stages.temporal.smoothing import smooth_pose
from likeness.stages.temporal.state import TrackState
from likeness.stages.temporal.tracking import associate, follow_tracks
from likeness.types import Faces, FloatArray, Frame, Pixels

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
    between, the flow moves the landmarks.

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
                (faces,) = context.models.detector.detect([frame.pixels])
        return TrackedFrame(tuple(DetectedFace(number=i, face=f, points=f.landmarks[0]) for i, f in enumerate(faces)))
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
            (faces,) = context.models.detector.detect([frame.pixels])
        tracks, next_id = associate(tracks, faces, config.match, config.detect_every, next_id)
    tracks.sort(key=lambda t: float(np.prod(t.box[2:] - t.box[:2])), reverse=True)
    seconds = _SHORTEST if last is None else max(_SHORTEST, float(frame.time - last.time))
    tracked = []
    for i, track in enumerate(tracks):
        points, pose = smooth_pose(track.landmarks, track.pose, seconds, config.smooth)
        opacity = 1.0 if cut else min(1.0, track.opacity + 1 / config.ramp)
        track = replace(track, pose=pose, opacity=opacity)
        tracked.append(DetectedFace(number=i, face=_face_of(track), points=points, track=track))
    return TrackedFrame(tuple(tracked), detected, grey, thumb, state.gallery, next_id)


def _face_of(track: TrackState) -> Faces:
    return Faces(
        track.box[None].astype(np.float32),
        np.array([track.score], np.float32),
        track.landmarks[None].astype(np.float32),
    )
