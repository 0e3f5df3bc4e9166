"""Re-identification of lost faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from likeness.pipeline.state import ClipState, Context, MeasuredFace
from likeness.pipeline.tracking import TrackedFrame
from likeness.stages.temporal.reid import match_lost, update_gallery
from likeness.types import Frame


def reidentify(
    tracked: TrackedFrame, faces: Sequence[MeasuredFace], state: ClipState, frame: Frame, context: Context
) -> tuple[TrackedFrame, list[MeasuredFace]]:
    """After a detection in a clip: new tracks of lost faces get their old numbers, the others the next ones.

    A lost face also gets its last assessment back, but nothing else: another shot may have another light.
    """
    if not context.temporal or not tracked.detected:
        return tracked, list(faces)
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
