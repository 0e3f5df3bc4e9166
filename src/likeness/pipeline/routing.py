"""The route of one face: width bands, gate and the user's choice."""

from __future__ import annotations

from likeness.nets.gate import FEATURES, Gate, gate_features
from likeness.pipeline.state import FrameContext, MeasuredFace
from likeness.stages.route import TURNED, reroute, route, route_by_gate, turned_away
from likeness.types import Decision, GateOutput

IMPLAUSIBLE = "implausible landmarks"  # the reason begins with it; such a face is left alone


def decide(face: MeasuredFace, now: FrameContext) -> Decision:
    """Routes a face by the width bands, then by the gate, by its landmarks and pose, and by the user's choice."""
    config, models, profile = now.file.config, now.file.models, face.profile
    bounds, margin = models.route_bounds.overridden(config.route), config.video.hysteresis
    last = face.track.assessment.decision if face.track and face.track.assessment else None
    before = None if last is None or last.reason.startswith((IMPLAUSIBLE, TURNED)) else last
    if before is None:
        decision = route(profile, config.route, bounds)
    else:
        decision = reroute(before, profile, config.route, bounds, margin)
    if models.gate is not None and decision.expert is not None:
        with now.clock.stage("gate"):
            output = _gate_output(models.gate, face)
        decision = route_by_gate(decision, output, config.gate.bounds(now.file.temporal), before, margin)
    if face.doubt and decision.expert is not None:
        return Decision("skip", f"{IMPLAUSIBLE}: {face.doubt}")
    decision = turned_away(decision, profile.pose.yaw, config.route, last, margin)
    return _chosen_by_user(decision, face, now)


def _gate_output(gate: Gate, face: MeasuredFace) -> GateOutput:
    assert face.embedding is not None  # every face is embedded that may be restored
    features = gate_features(face.profile, float(face.embedding.norm()), face.face.landmarks[0])
    ((probability, leave),) = gate.probabilities([features])
    return GateOutput(float(probability), float(leave), dict(zip(FEATURES, features.tolist(), strict=True)))


def _chosen_by_user(decision: Decision, face: MeasuredFace, now: FrameContext) -> Decision:
    """Skips faces that the options exclude."""
    f, width = now.file.config.faces, face.profile.width
    if f.min is not None and width < f.min:
        return Decision("skip", f"not chosen: width {width:.0f} px < faces.min={f.min:g}")
    if f.max is not None and width > f.max:
        return Decision("skip", f"not chosen: width {width:.0f} px > faces.max={f.max:g}")
    if f.only and face.number != (0 if f.only == "largest" else int(f.only)):
        return Decision("skip", f"not chosen: faces.only={f.only}")
    return decision
