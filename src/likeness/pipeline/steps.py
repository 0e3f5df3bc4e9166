"""The data flow on one page: a frame and what the clip remembers go in, the restored frame and the new state come out.

(repair) -> detect -> (track) -> align -> measure, profile, mark obstructions -> route -> restore -> (blend in time)
-> guard -> enlarge the background -> composite. A photo is a clip of one frame without memory. Every step is a function
of its arguments.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from typing import TypeVar

import numpy as np

from likeness.ops.geometry import enlarged, mix, reduced, resized, scale_of
from likeness.pipeline.batches import restore_in_batches
from likeness.pipeline.identify import reidentify
from likeness.pipeline.memory import next_state
from likeness.pipeline.repairing import (
    decide_repair,
    invented,
    mark_obstructions,
    paste_weight,
    repair_picture,
)
from likeness.pipeline.routing import decide
from likeness.pipeline.state import (
    AlignedFace,
    ClipState,
    Clock,
    Context,
    DetectedFace,
    FrameContext,
    FrameResult,
    GuardedFace,
    MeasuredFace,
    RestoredFace,
    RoutedFace,
    promote,
)
from likeness.pipeline.tracking import detect_and_track
from likeness.stages.align import align, align_with
from likeness.stages.background.base import BackgroundPlan
from likeness.stages.composite import Patch, cut, grain_of, paste
from likeness.stages.identity import distance, embed, embed_both, guard
from likeness.stages.measure import measure
from likeness.stages.profile import profile_face
from likeness.stages.restore.exposure import gain
from likeness.stages.temporal.blending import blend
from likeness.stages.temporal.propagation import propagate
from likeness.stages.temporal.state import Assessment
from likeness.types import Conditions, Crop, Faces, FloatArray, Frame, Pixels, Restored, Verdict

CROP = 256
LIMITED_FROM = 768  # output pixels under a crop from which the restored detail visibly ends early

Given = TypeVar("Given", bound=DetectedFace)
Done = TypeVar("Done", bound=DetectedFace)


def restore_frame(
    frame: Frame, state: ClipState, context: Context, faces: Faces | None = None
) -> tuple[FrameResult, ClipState]:
    """Restores the faces of one frame.

    A frame that repeats the one before it, bit for bit, gets its result.

    Args:
        frame: its pixels are not changed.
        state: of the clip before this frame; `ClipState()` for the first one and for photos.
        context: networks and options.
        faces: known faces of a photo, largest first; None: detect them.
    """
    if state.last is not None and np.array_equal(frame.pixels, state.last.pixels):
        return _repeated(state.last.result), state
    clock = Clock()
    pixels, damage = frame.pixels, None
    if context.config.repair.wanted:
        pixels, damage = repair_picture(pixels, context, clock)
    tracked = detect_and_track(replace(frame, pixels=pixels), state, context, clock, faces)
    now = FrameContext(pixels, tracked.detected, context, clock, context.config.video.cadence(state.pace), damage)
    aligned = [align_face(face, now) for face in tracked.faces]
    measured = [measure_face(face, now) for face in aligned]
    embedded = [embed_face(face, now) for face in measured]
    tracked, identified = reidentify(tracked, embedded, state, frame, context)
    routed = [route_face(face, now) for face in identified]
    propagated = [propagate_face(face, now) for face in routed]
    restored = restore_faces(propagated, now)
    blended = [blend_face(face, now) for face in restored]
    guarded = [guard_face(face, now) for face in blended]
    background, plan = enlarge_background(state.last.result.background if state.last else None, now)
    result = composite_faces(guarded, background, plan, now)
    return result, next_state(state, frame, tracked, result)


def timed(step: Callable[[Given, FrameContext], Done]) -> Callable[[Given, FrameContext], Done]:
    """Adds the time of a step to its face."""

    @wraps(step)
    def run(face: Given, now: FrameContext) -> Done:
        start = time.perf_counter()
        done = step(face, now)
        return replace(done, milliseconds=done.milliseconds + 1000 * (time.perf_counter() - start))

    return run


@timed
def align_face(face: DetectedFace, now: FrameContext) -> AlignedFace:
    """Detected to aligned: a crop of 256 pixels."""
    with now.clock.stage("align"):
        return promote(face, AlignedFace, crop=align(now.pixels, face.points, CROP))


@timed
def measure_face(face: AlignedFace, now: FrameContext) -> MeasuredFace:
    """Aligned to measured. Between two detections of a clip the last assessment holds."""
    if known := _assessment(face, now):
        return promote(face, MeasuredFace, profile=known.profile)
    with now.clock.stage("measure"):
        measured = measure(now.pixels, face.crop)
    with now.clock.stage("profile"):
        landmarks = face.face.landmarks[0]
        profile = profile_face(now.pixels, face.crop, landmarks, measured, now.file.models.quality)
    if now.file.models.obstructions is not None:
        profile = mark_obstructions(face, profile, now)
    return promote(face, MeasuredFace, profile=profile)


@timed
def embed_face(face: MeasuredFace, now: FrameContext) -> MeasuredFace:
    """Embeds the crop, for re-identification, gate and guard; not where none of them reads it."""
    small = face.profile.width < now.file.config.route.skip_below
    if _assessment(face, now) or (small and not now.file.temporal):
        return face
    with now.clock.stage("identity"):
        return replace(face, embedding=embed(now.file.models.embedder, face.crop.image, 1))


@timed
def route_face(face: MeasuredFace, now: FrameContext) -> RoutedFace:
    """Measured to routed. Between two detections of a clip the last assessment holds."""
    known, config = _assessment(face, now), now.file.config
    decision = known.decision if known else decide(face, now)
    if decision.expert is not None and config.expert.name != "auto":
        decision = replace(decision, expert=config.expert.name)
    exposure = unknown = None
    if config.repair.wanted:
        decision, unknown = decide_repair(decision, face, now)
    if face.track and decision.expert is not None:
        exposure = gain(face.crop.image, face.track.gain)
    return promote(face, RoutedFace, decision=decision, gain=exposure, unknown=unknown)


@timed
def propagate_face(face: RoutedFace, now: FrameContext) -> RoutedFace:
    """Between two restored frames of a steady face: its last residual, moved to this frame's crop."""
    track = face.track
    if now.every == 1 or track is None or track.assessment is None or track.expert is None or track.blend is None:
        return face
    frames = track.expert.frames_since_restore + 1
    if frames >= now.every or face.decision.expert is None:
        return face
    if face.decision.expert != track.assessment.decision.expert:
        return face
    with now.clock.stage("propagate"):
        image = propagate(face.crop.image, track.blend, now.file.config.composite.shape)
    if image is None:
        return face
    restored = Restored(image, track.blend.confidence, track.expert.memory)
    return promote(
        face, RestoredFace, expert_crop=face.crop, restored=restored, frames_since_restore=frames, blend=track.blend
    )


def restore_faces(faces: Sequence[RoutedFace], now: FrameContext) -> list[RoutedFace]:
    """Runs each expert once over all of its faces."""
    done = list(faces)
    waiting = {
        i: f.decision.expert for i, f in enumerate(faces) if f.decision.expert and not isinstance(f, RestoredFace)
    }
    for name in sorted(set(waiting.values())):
        indices = [i for i in waiting if waiting[i] == name]
        expert, start = now.file.models.experts[name], time.perf_counter()
        with now.clock.stage("align"):
            crops = [_crop_for(faces[i], expert.input_size, now) for i in indices]
        needed = now.file.temporal or any(faces[i].unknown is not None for i in indices)
        conditions = [_conditions(faces[i]) for i in indices] if needed else None
        with now.clock.stage("restore"):
            outputs, halved = restore_in_batches(expert, [crop.image for crop in crops], conditions)
        spent = 1000 * (time.perf_counter() - start) / len(indices)
        notes = (f"memory ran out: the batch was halved {halved} times",) if halved else ()
        for i, crop, output in zip(indices, crops, outputs, strict=True):
            face = replace(faces[i], milliseconds=faces[i].milliseconds + spent, notes=(*faces[i].notes, *notes))
            if face.unknown is not None:
                output = invented(output, face.unknown)
            done[i] = promote(face, RestoredFace, expert_crop=crop, restored=output)
    return done


@timed
def blend_face(face: RoutedFace, now: FrameContext) -> RoutedFace:
    """In clips: mixes the last frame's restored face into this one's."""
    config = now.file.config.video
    if not isinstance(face, RestoredFace) or face.track is None or face.frames_since_restore:
        return face
    sized, before = _reduced(face, now), face.track.blend
    if config.blend.weight == 0 and not config.propagates:
        return sized
    with now.clock.stage("blend"):
        blended = blend(face.expert_crop.image, sized.restored, before, config.blend, now.file.config.composite.shape)
    return replace(sized, restored=replace(sized.restored, image=blended.image), blend=blended)


@timed
def guard_face(face: RoutedFace, now: FrameContext) -> RoutedFace:
    """Compares a restored face with its input, and settles how much of it is used."""
    if not isinstance(face, RestoredFace):
        return face
    config, models, track = now.file.config, now.file.models, face.track
    crop = face.expert_crop.image
    with now.clock.stage("identity"):
        verdict = _verdict(face, now)
        alpha = config.strength * (verdict.alpha if verdict else 1.0)
        last = track.last_alpha if track else None
        if last is not None:
            step = 1 / config.video.ramp
            alpha = min(max(alpha, last - step), last + step)
        visible = alpha * (track.opacity if track else 1.0)
        final = mix(crop, face.restored.image, visible)
        drift = embedding = None
        if now.detected or config.guard.every_frame:
            known = face.embedding if face.expert_crop is face.crop else None
            before, after = embed_both(models.embedder, crop, final, known)
            drift, embedding = distance(before, after), after.cpu().numpy()
    return promote(
        face,
        GuardedFace,
        verdict=verdict,
        alpha=alpha,
        final=final if visible > 0 else None,
        distance=drift,
        final_embedding=embedding,
    )


def enlarge_background(plan: BackgroundPlan | None, now: FrameContext) -> tuple[Pixels, BackgroundPlan]:
    """Enlarges the whole frame. The first frame of a file decides how; later ones are given its plan."""
    background = now.file.models.background
    with now.clock.stage("background"):
        plan = plan or background.plan(now.pixels, now.file.kind)
        return background.enlarge(now.pixels, now.file.upscale, plan, now.file.progress), plan


def composite_faces(
    faces: Sequence[RoutedFace], background: Pixels, plan: BackgroundPlan, now: FrameContext
) -> FrameResult:
    """Pastes the faces onto the enlarged frame, smaller ones first: where two overlap, the larger one is in front."""
    config, upscale, canvas = now.file.config.composite, now.file.upscale, background
    method, done, grain = config.method_for(now.file.kind), list(faces), config.grain
    if grain > 0 and any(isinstance(face, GuardedFace) and face.final is not None for face in faces):
        with now.clock.stage("composite"):
            grain *= (1 - plan.strength) * grain_of(background, upscale)
    for i in sorted(range(len(done)), key=lambda i: done[i].profile.width):
        face = done[i]
        if not isinstance(face, GuardedFace) or face.final is None:
            continue
        start = time.perf_counter()
        with now.clock.stage("composite"):
            size, crop = face.final.shape[0], face.expert_crop
            matrix = resized(crop.matrix, target=size / crop.size)
            region = cut(background, matrix, upscale, size) if plan.strength else None
            weight = paste_weight(face, now) if config.protect or face.unknown is not None else None
            patch = Patch(face.final, _beneath(face, region), matrix, config.shape, weight)
            canvas, note = paste(canvas, patch, upscale, method, grain, background)
        spent = face.milliseconds + 1000 * (time.perf_counter() - start)
        notes = [n for n in (note, _limited(face, now)) if n]
        done[i] = replace(face, milliseconds=spent, notes=(*face.notes, *notes))
    share = 0.0 if now.damage is None else float(now.damage.mean())
    return FrameResult(canvas, tuple(done), plan, now.clock.seconds, share)


def _assessment(face: DetectedFace, now: FrameContext) -> Assessment | None:
    """The last one of a track, between two detections."""
    return face.track.assessment if face.track and not now.detected else None


def _repeated(result: FrameResult) -> FrameResult:
    """The last result, which takes no time again."""
    return replace(result, faces=tuple(replace(f, milliseconds=0.0) for f in result.faces), seconds={})


def _crop_for(face: RoutedFace, size: int, now: FrameContext) -> Crop:
    """The crop at the size that an expert reads."""
    return face.crop if size == CROP else align_with(now.pixels, resized(face.crop.matrix, target=size / CROP), size)


def _conditions(face: RoutedFace) -> Conditions:
    memory = face.track.expert.memory if face.track and face.track.expert else None
    return Conditions(memory, 1.0 + face.profile.sharpness, face.gain, face.unknown)


def _reduced(face: RestoredFace, now: FrameContext) -> RestoredFace:
    """The restored face at its crop's size where it is shown smaller; a track that was larger once stays so."""
    fraction, before = now.file.config.video.reduce, face.track and face.track.blend
    size = face.expert_crop.size
    if fraction == 0 or _covered(face, now) >= fraction * CROP or face.restored.image.shape[0] != 2 * size:
        return face
    if before and before.image.shape[0] > size:
        return face
    return replace(face, restored=replace(face.restored, image=reduced(face.restored.image, size)))


def _verdict(face: RestoredFace, now: FrameContext) -> Verdict | None:
    """The guard's, or the last detection's between two detections."""
    config, models = now.file.config.guard, now.file.models
    if known := _assessment(face, now):
        return known.verdict
    if not config.enabled:
        return None
    bound = models.guard_bounds.at(face.profile.sharpness)
    return guard(models.recogniser, face.expert_crop.image, face.restored.image, bound, config.strictness)


def _beneath(face: GuardedFace, region: FloatArray | None) -> FloatArray:
    """What a face's residual is relative to: its input crop, or what a network made of that region.

    With a network, the face and its surroundings then meet without an edge in sharpness or colour.
    """
    assert face.final is not None
    source = enlarged(face.expert_crop.image, face.final.shape[0])
    if region is None:
        return source
    return mix(source, region, face.alpha * (face.track.opacity if face.track else 1.0))


def _covered(face: RoutedFace, now: FrameContext) -> float:
    """Edge of the face's crop in output pixels."""
    return CROP / scale_of(face.crop.matrix) * now.file.upscale


def _limited(face: GuardedFace, now: FrameContext) -> str | None:
    """A note where a large face was restored because it was bad: the expert writes fewer pixels than it covers."""
    covered = _covered(face, now)
    if face.profile.width < now.file.config.route.resize_from or face.final is None or covered <= LIMITED_FROM:
        return None
    return f"limited detail: the face covers {covered:.0f} px, {face.final.shape[0]} are written"
