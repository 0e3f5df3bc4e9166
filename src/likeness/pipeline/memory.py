"""The state of a clip after a frame."""

from __future__ import annotations

from dataclasses import replace

from likeness.pipeline.state import ClipState, FrameResult, GuardedFace, LastFrame, RestoredFace, RoutedFace
from likeness.pipeline.tracking import TrackedFrame
from likeness.stages.temporal.propagation import Pace
from likeness.stages.temporal.state import Assessment, ExpertState, TrackState
from likeness.types import Frame


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
        pace=_pace_after(state.pace, result),
    )


def _pace_after(pace: Pace, result: FrameResult) -> Pace:
    ages = [face.frames_since_restore for face in result.faces if isinstance(face, RestoredFace)]
    restored = ages.count(0)
    return pace.after(sum(result.seconds.values()), result.seconds.get("restore", 0.0), restored, len(ages) - restored)


def _track_after(track: TrackState, face: RoutedFace) -> TrackState:
    verdict, expert, blended = None, None, None
    if isinstance(face, GuardedFace):
        verdict = face.verdict
        expert = ExpertState(face.restored.state, face.frames_since_restore, face.alpha)
    if isinstance(face, RestoredFace):
        blended = face.blend
    assessment = Assessment(face.profile, face.decision, verdict)
    return replace(track, assessment=assessment, gain=face.gain, expert=expert, blend=blended)
