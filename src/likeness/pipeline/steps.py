"""The data flow on one page: frame and faces in, restored frame and what happened to each face out.

align -> measure -> route -> restore (or carry) -> fuse -> guard -> composite. Everything here is a function of its
arguments; what a clip remembers from frame to frame comes in as `Held` and goes out with the result.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from likeness.nets.face_embedder import FaceEmbedder
from likeness.nets.gate import FEATURES, Gate, gate_features
from likeness.ops.geometry import enlarged, reduced, resized, scale_of
from likeness.pipeline.batches import restore_in_batches
from likeness.pipeline.config import RestorerConfig
from likeness.pipeline.state import Clock, FaceResult, FrameResult, Held, Models, Waiting
from likeness.stages.align import align, align_with
from likeness.stages.composite import Patch, paste
from likeness.stages.identity import distance, embed, guard, mix
from likeness.stages.measure import measure
from likeness.stages.restore.exposure import gain
from likeness.stages.route import by_gate, reroute, route
from likeness.stages.temporal.carry import carried_face
from likeness.stages.temporal.fuse import fuse
from likeness.types import (
    Before,
    Crop,
    Decision,
    Faces,
    FloatArray,
    MediaKind,
    Opinion,
    Pixels,
    Profile,
    Restored,
)

CROP = 256
LIMITED_FROM = 768  # output pixels under a crop from which its restored detail visibly ends early


def process(
    pixels: Pixels,
    faces: Faces,
    models: Models,
    config: RestorerConfig,
    kind: MediaKind,
    upscale: int,
    held: Sequence[Held | None] | None = None,
    fades: Sequence[float] | None = None,
    points: Sequence[FloatArray] | None = None,
    refresh: bool = True,
    clock: Clock | None = None,
) -> FrameResult:
    """Restores the given faces of one frame.

    Args:
        pixels: HWC uint8 or uint16; not changed.
        faces: largest first.
        models: the networks.
        config: all options.
        kind: decides poisson or feather where the option says auto.
        upscale: 1, 2 or 4.
        held: per face what its track remembers, None for a new face.
        fades: per face 0..1, below 1 while it fades in; None means 1.
        points: per face (5, 2), what it is aligned by, where that is steadier than the landmarks found.
        refresh: measure, route and guard again (at detections); else the held values stand.
        clock: adds to it when given.
    """
    clock = clock or Clock()
    remembered = list(held) if held is not None else [None] * len(faces)
    visible = list(fades) if fades is not None else [1.0] * len(faces)
    looked = look(pixels, faces, models, config, kind, remembered, points, refresh, clock)
    befores = None if kind == "photo" else before_each(looked, remembered)
    (restored,) = restore([Waiting(pixels, looked, befores, clock)], models)
    return finish(pixels, restored, models, config, kind, upscale, remembered, visible, refresh, clock)


def look(
    pixels: Pixels,
    faces: Faces,
    models: Models,
    config: RestorerConfig,
    kind: MediaKind,
    held: Sequence[Held | None],
    points: Sequence[FloatArray] | None,
    refresh: bool,
    clock: Clock,
) -> list[FaceResult]:
    """Aligns, measures and routes every face; carries it along where its expert need not run. See `process`."""
    results = [
        _look(pixels, face, i, past, points[i] if points else face.landmarks[0], models, config, kind, refresh, clock)
        for i, (face, past) in enumerate(zip(faces, held, strict=True))
    ]
    if config.video.carry.every > 1:
        with clock.stage("carry"):
            results = [_carried(r, past, config) for r, past in zip(results, held, strict=True)]
    return results


def before_each(results: Sequence[FaceResult], held: Sequence[Held | None]) -> list[Before]:
    """What goes with the faces of a clip's frame to an expert that follows them."""
    return [Before(p.past if p else None, _weight(r), r.gain) for p, r in zip(held, results, strict=True)]


def restore(frames: Sequence[Waiting], models: Models) -> list[list[FaceResult]]:
    """Runs each expert once over all of its faces, those of neighbouring frames together."""
    done = [list(f.faces) for f in frames]
    waiting = [
        (n, i, r.decision.expert)
        for n, f in enumerate(frames)
        for i, r in enumerate(f.faces)
        if r.restored is None and r.decision.expert
    ]
    for name in sorted({expert for _, _, expert in waiting}):
        which = [(n, i) for n, i, expert in waiting if expert == name]
        start = time.perf_counter()
        expert, crops = models.experts[name], []
        for n, i in which:
            with frames[n].clock.stage("align"):
                crops.append(_crop_for(frames[n].pixels, frames[n].faces[i], expert.input_size))
        begun = time.perf_counter()
        own = [before for n, i in which for before in (frames[n].befores or ())[i : i + 1]]
        outputs, halved = restore_in_batches(expert, [crop.image for crop in crops], own or None)
        now = time.perf_counter()
        each = 1000 * (now - start) / len(which)
        said = (f"memory ran out: the batch was halved {halved} times",) if halved else ()
        for (n, i), crop, output in zip(which, crops, outputs, strict=True):
            frames[n].clock.add("restore", (now - begun) / len(which))
            r = done[n][i]
            spent, notes = r.milliseconds + each, (*r.notes, *said)
            done[n][i] = replace(r, seen=crop, restored=output, milliseconds=spent, notes=notes)
    return done


def finish(
    pixels: Pixels,
    results: Sequence[FaceResult],
    models: Models,
    config: RestorerConfig,
    kind: MediaKind,
    upscale: int,
    held: Sequence[Held | None],
    fades: Sequence[float],
    refresh: bool,
    clock: Clock,
) -> FrameResult:
    """Fuses, guards and composites the faces that `restore` gave. See `process`."""
    done = list(results)
    if kind != "photo" and config.video.reduce > 0:
        done = [_reduced(r, past, config.video.reduce, upscale) for r, past in zip(done, held, strict=True)]
    if kind != "photo" and (config.video.fuse.share > 0 or config.video.carry.every > 1):
        with clock.stage("fuse"):
            done = [_fused(r, past, config) for r, past in zip(done, held, strict=True)]
    done = [
        _guard(r, past, fade, models, config, refresh, clock) for r, past, fade in zip(done, held, fades, strict=True)
    ]
    with clock.stage("background"):
        canvas = models.background(pixels, upscale)
    method = config.composite.method_for(kind)
    # Smaller faces first: where two overlap, the larger one is in front.
    for i in sorted(range(len(done)), key=lambda i: done[i].profile.width):
        r = done[i]
        if r.final is None or r.seen is None:
            continue
        start = time.perf_counter()
        with clock.stage("composite"):
            size, seen = r.final.shape[0], r.seen.image
            patch = Patch(r.final, enlarged(seen, size), resized(r.seen.matrix, target=size / seen.shape[0]))
            canvas, note = paste(canvas, patch, upscale, method, config.composite.residual, config.composite.grain)
        spent = r.milliseconds + 1000 * (time.perf_counter() - start)
        said = [n for n in (note, _limited(r, config, upscale)) if n]
        done[i] = replace(r, milliseconds=spent, notes=(*r.notes, *said))
    return FrameResult(canvas, tuple(done), clock.seconds)


def _look(
    pixels: Pixels,
    face: Faces,
    index: int,
    past: Held | None,
    points: FloatArray,
    models: Models,
    config: RestorerConfig,
    kind: MediaKind,
    refresh: bool,
    clock: Clock,
) -> FaceResult:
    """Align, measure and route one face."""
    start = time.perf_counter()
    with clock.stage("align"):
        crop = align(pixels, points, CROP)
    if past is not None and not refresh:
        profile, decision = past.profile, past.decision
    else:
        with clock.stage("measure"):
            profile = measure(pixels, crop)
        bounds = models.route_bounds.overridden(config.route)
        if past is None:
            decision = route(profile, config.route, bounds)
        else:
            decision = reroute(past.decision, profile, config.route, bounds, config.video.hysteresis)
        if models.gate is not None and decision.expert is not None:
            with clock.stage("gate"):
                opinion = _opinion(models.gate, models.embedder, profile, crop, face)
            held = past.decision if past else None
            sure = config.pipeline.sure if kind == "photo" else config.video.sure
            decision = by_gate(decision, opinion, sure, held, config.video.hysteresis)
        decision = _chosen(decision, profile, index, config)
    if decision.expert is not None and config.expert.name != "auto":
        decision = replace(decision, expert=config.expert.name)
    exposed = None
    if kind != "photo" and decision.expert is not None:
        exposed = gain(crop.image, past.gain if past else None)
    spent = 1000 * (time.perf_counter() - start)
    return FaceResult(face, crop, profile, decision, milliseconds=spent, gain=exposed)


def _opinion(gate: Gate, embedder: FaceEmbedder, profile: Profile, crop: Crop, face: Faces) -> Opinion:
    """What the learned gate thinks of one face."""
    features = gate_features(profile, float(embed(embedder, crop.image, 1).norm()), face.landmarks[0])
    (probability,) = gate.probability([features])
    return Opinion(float(probability), dict(zip(FEATURES, features.tolist(), strict=True)))


def _chosen(decision: Decision, profile: Profile, index: int, config: RestorerConfig) -> Decision:
    """Applies the user's choice of faces to a decision."""
    f = config.faces
    if f.min is not None and profile.width < f.min:
        return Decision("skip", f"not chosen: width {profile.width:.0f} px < faces.min={f.min:g}")
    if f.max is not None and profile.width > f.max:
        return Decision("skip", f"not chosen: width {profile.width:.0f} px > faces.max={f.max:g}")
    if f.only and index != (0 if f.only == "largest" else int(f.only)):
        return Decision("skip", f"not chosen: faces.only={f.only}")
    return decision


def _limited(r: FaceResult, config: RestorerConfig, upscale: int) -> str | None:
    """What to say of a large face that was restored because it was bad: fewer pixels are written than it covers."""
    covered = _covered(r, upscale)
    if r.profile.width < config.route.resize_from or r.final is None or covered <= LIMITED_FROM:
        return None
    return f"limited detail: the face covers {covered:.0f} px, {r.final.shape[0]} are written"


def _covered(r: FaceResult, upscale: int) -> float:
    """Edge of the face's crop in pixels of the output."""
    return CROP / scale_of(r.crop.matrix) * upscale


def _weight(r: FaceResult) -> float:
    """How much this frame's texture counts among those of its track; never nothing."""
    return 1.0 + r.profile.sharpness


def _carried(r: FaceResult, past: Held | None, config: RestorerConfig) -> FaceResult:
    """What the last restored frame added, on this frame's crop, where its turn has not come and the face is steady."""
    if past is None or past.memory is None or past.since + 1 >= config.video.carry.every:
        return r
    if r.decision.expert is None or r.decision.expert != past.decision.expert:
        return r
    start = time.perf_counter()
    image = carried_face(r.crop.image, past.memory, config.video.carry)
    if image is None:
        return r
    restored = Restored(image, past.memory.confidence, past=past.past)
    spent = r.milliseconds + 1000 * (time.perf_counter() - start)
    return replace(r, seen=r.crop, restored=restored, memory=past.memory, since=past.since + 1, milliseconds=spent)


def _reduced(r: FaceResult, past: Held | None, share: float, upscale: int) -> FaceResult:
    """The restored face at its crop's size where it is shown smaller; a track that was larger once stays so."""
    if r.restored is None or r.seen is None or r.since or _covered(r, upscale) >= share * CROP:
        return r
    size = r.seen.image.shape[0]
    if r.restored.image.shape[0] != 2 * size:  # an expert of the user's own that enlarges by another factor
        return r
    if past is not None and past.memory is not None and past.memory.image.shape[0] > size:
        return r
    return replace(r, restored=replace(r.restored, image=reduced(r.restored.image, size)))


def _fused(r: FaceResult, past: Held | None, config: RestorerConfig) -> FaceResult:
    """Mixes the last frame's face into this one's, and remembers it."""
    if r.restored is None or r.seen is None or r.since:
        return r
    memory = fuse(r.seen.image, r.restored, past.memory if past else None, config.video.fuse)
    return replace(r, restored=replace(r.restored, image=memory.image), memory=memory)


def _crop_for(pixels: Pixels, r: FaceResult, size: int) -> Crop:
    """The crop at the size that an expert reads."""
    return r.crop if size == CROP else align_with(pixels, resized(r.crop.matrix, target=size / CROP), size)


def _guard(
    r: FaceResult, past: Held | None, fade: float, models: Models, config: RestorerConfig, refresh: bool, clock: Clock
) -> FaceResult:
    """Checks identity, and settles how much of the restored face is used."""
    if r.restored is None or r.seen is None:
        return r
    crop = r.seen.image
    start = time.perf_counter()
    with clock.stage("identity"):
        if past is not None and not refresh:
            verdict = past.verdict
        elif config.guard.enabled:
            bound = models.guard_bounds.at(r.profile.sharpness)
            verdict = guard(models.recogniser, crop, r.restored.image, bound, config.guard.strictness)
        else:
            verdict = None
        wanted = config.strength * (verdict.mix if verdict else 1.0)
        share = wanted
        if past is not None and past.share is not None:
            step = 1 / config.video.ramp
            share = min(max(wanted, past.share - step), past.share + step)
        used = mix(crop, r.restored.image, share * fade)
        moved = embedding = None
        if refresh or past is None or config.guard.every_frame:
            after = embed(models.embedder, used, 1)
            moved, embedding = distance(embed(models.embedder, crop, 1), after), after.cpu().numpy()
    spent = r.milliseconds + 1000 * (time.perf_counter() - start)
    final = used if share * fade > 0 else None
    return replace(
        r, verdict=verdict, final=final, distance=moved, embedding=embedding, share=share, milliseconds=spent
    )
