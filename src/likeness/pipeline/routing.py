"""The route of one face: width bands, gate and the user's choice."""

from __future__ import annotations

from likeness.nets.gate import FEATURES, Gate, gate_features
from likeness.pipeline.identify import with_embedding
from likeness.pipeline.state import AlignedFace, FrameContext
from likeness.stages.route import TURNED, reroute, route, route_by_gate, turned_away
from likeness.types import Decision, FaceProfile, GateOutput, Profile

IMPLAUSIBLE = "implausible landmarks"  # the reason begins with it; such a face is left alone


def decide(face: AlignedFace, profile: FaceProfile, now: FrameContext) -> tuple[AlignedFace, Decision]:
    """Routes a face by the width bands, then by the gate, by its landmarks and pose, and by the user's choice."""
    config, models = now.file.config, now.file.models
    bounds, margin = models.route_bounds.overridden(config.route), config.video.hysteresis
    last = face.track.assessment.decision if face.track and face.track.assessment else None
    before = None if last is None or last.reason.startswith((IMPLAUSIBLE, TURNED)) else last
    if before is None:
        decision = route(profile, config.route, bounds)
    else:
        decision = reroute(before, profile, config.route, bounds, margin)
    if models.gate is not None and decision.expert is not None:
        with now.clock.stage("gate"):
            face = with_embedding(face, models.embedder)
            output = _gate_output(models.gate, face, profile)
        threshold = config.gate.video_threshold if now.file.temporal else config.gate.threshold
        decision = route_by_gate(decision, output, threshold, before, margin)
    if face.doubt and decision.expert is not None:
        return face, Decision("skip", f"{IMPLAUSIBLE}: {face.doubt}")
    decision = turned_away(decision, profile.pose.yaw, config.route, last, margin)
    return face, _chosen_by_user(decision, profile, face.number, now)


def _gate_output(gate: Gate, face: AlignedFace, profile: Profile) -> GateOutput:
    assert face.embedding is not None  # `decide` computes it
    features = gate_features(profile, float(face.embedding.norm()), face.face.landmarks[0])
    (probability,) = gate.probability([features])
    return GateOutput(float(probability), dict(zip(FEATURES, features.tolist(), strict=True)))


def _chosen_by_user(decision: Decision, profile: Profile, number: int, now: FrameContext) -> Decision:
    """Skips faces that the options exclude."""
    f = now.file.config.faces
    if f.min is not None and profile.width < f.min:
        return Decision("skip", f"not chosen: width {profile.width:.0f} px < faces.min={f.min:g}")
    if f.max is not None and profile.width > f.max:
        return Decision("skip", f"not chosen: width {profile.width:.0f} px > faces.max={f.max:g}")
    if f.only and number != (0 if f.only == "largest" else int(f.only)):
        return Decision("skip", f"not chosen: faces.only={f.only}")
    return decision
