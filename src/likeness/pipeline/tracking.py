"""Detection and tracking: the faces of a frame, and what the clip remembers of them afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from likeness.pipeline.state import (
    AlignedFace,
    ClipState,
    Clock,
    Context,
    DetectedFace,
    FrameResult,
    GuardedFace,
    LastFrame,
    RestoredFace,
    RoutedFace,
)
from likeness.stages.identity import Recogniser, embed
from likeness.stages.temporal.cuts import is_cut, thumbnail
from likeness.stages.temporal.reid import GalleryEntry, match_lost, update_gallery
from likeness.stages.temporal.smoothing import smooth_pose
from likeness.stages.temporal.state import Assessment, ExpertState, TrackState
from likeness.stages.temporal.tracking import associate, follow_tracks, grey8
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


def with_embedding(face: AlignedFace, embedder: Recogniser) -> AlignedFace:
    """The same face with the embedding of its crop, which is computed once a frame."""
    return face if face.embedding is not None else replace(face, embedding=embed(embedder, face.crop.image, 1))


def reidentify(
    tracked: TrackedFrame, faces: Sequence[AlignedFace], state: ClipState, frame: Frame, context: Context
) -> tuple[TrackedFrame, list[AlignedFace]]:
    """After a detection in a clip: new tracks of lost faces get their old numbers, the others the next ones.

    A lost face also gets its last assessment back, but nothing else: another shot may have another light.
    """
    if not context.temporal or not tracked.detected:
        return tracked, list(faces)
    faces = [with_embedding(face, context.models.embedder) for face in faces]
    embeddings = {f.track.id: f.embedding.cpu().numpy() for f in faces if f.track and f.embedding is not None}
    new = {number: embedding for number, embedding in sorted(embeddings.items()) if number >= state.next_id}
    active = embeddings.keys() - new.keys()
    numbers = match_lost(new, state.gallery, active, context.config.video.reid)
    next_id = state.next_id
    for number in new:
        if number not in numbers:
            numbers[number], next_id = next_id, next_id + 1
    remembered = {entry.id: entry.assessment for entry in state.gallery}
    named = []
    for face in faces:
        if face.track and face.track.id in new:
            number = numbers[face.track.id]
            face = replace(face, track=replace(face.track, id=number, assessment=remembered.get(number)))
        named.append(face)
    visible = {numbers.get(number, number): embedding for number, embedding in embeddings.items()}
    gallery = update_gallery(state.gallery, visible, frame.time, context.config.video.reid)
    return replace(tracked, gallery=gallery, next_id=next_id), named


def next_state(state: ClipState, frame: Frame, tracked: TrackedFrame, result: FrameResult) -> ClipState:
    """What the clip remembers after a frame; a photo remembers nothing."""
    if tracked.grey is None or tracked.thumbnail is None:
        return state
    tracks = [_track_after(face.track, face) for face in result.faces if face.track]
    assessed = {track.id: track.assessment for track in tracks}
    return ClipState(
        tracks=tuple(tracks),
        gallery=tuple(replace(e, assessment=assessed.get(e.id, e.assessment)) for e in tracked.gallery),
        last=LastFrame(frame.pixels, frame.time, tracked.grey, tracked.thumbnail, result),
        frames_since_detection=0 if tracked.detected else state.frames_since_detection + 1,
        next_id=tracked.next_id,
    )


def _track_after(track: TrackState, face: RoutedFace) -> TrackState:
    verdict, expert, blended = None, None, None
    if isinstance(face, GuardedFace):
        verdict = face.verdict
        expert = ExpertState(face.restored.state, face.frames_since_restore, face.alpha)
    if isinstance(face, RestoredFace):
        blended = face.blend
    assessment = Assessment(face.profile, face.decision, verdict)
    return replace(track, assessment=assessment, gain=face.gain, expert=expert, blend=blended)


def _face_of(track: TrackState) -> Faces:
    return Faces(
        track.box[None].astype(np.float32),
        np.array([track.score], np.float32),
        track.landmarks[None].astype(np.float32),
    )
