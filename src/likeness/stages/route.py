"""Route: width, sharpness and the learned gate decide what happens to a face. Pure functions that state the reason."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import floor
from typing import Literal

from likeness.errors import ConfigError
from likeness.nets.gate import LEAVE_THRESHOLD, THRESHOLD
from likeness.types import Decision, GateOutput, Profile

TURNED = "left alone: turned"  # the reason begins with it
OBSERVATIONS = 4  # of the gate in its running mean over a track: most of a second with the default detection


@dataclass(frozen=True)
class GateBounds:
    """How probable it must be that Expert-T is the better expert, and that a face is better left alone; 0..1."""

    expert_t: float = THRESHOLD
    leave: float = LEAVE_THRESHOLD


@dataclass
class GateOptions:
    """The choice between the experts, and leaving a face alone.

    Attributes:
        mode: rule (width and sharpness), learned (a network that estimates which choice does better), or auto: learned
            with the two released experts, for which it was trained, else the rule.
        threshold: 0..1, probability from which Expert-T is chosen, in photos. Expert-F harms good faces less.
        video_threshold: the same in clips; lower, since the gate underrates Expert-T on encoded frames
            (experiments/gate/README.md).
        leave_threshold: 0..1, probability from which a face is left alone; 1 = never. The released gate was not
            trained to leave faces alone.
    """

    mode: str = "auto"
    threshold: float = THRESHOLD
    video_threshold: float = 0.5
    leave_threshold: float = LEAVE_THRESHOLD

    def __post_init__(self) -> None:
        if self.mode not in ("auto", "rule", "learned"):
            raise ConfigError(f"gate.mode: got {self.mode!r}, expected auto, rule or learned")
        for name in ("threshold", "video_threshold", "leave_threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"gate.{name}: got {getattr(self, name)}, expected a probability from 0 to 1")

    def bounds(self, temporal: bool) -> GateBounds:
        """The bounds for clips or for photos."""
        return GateBounds(self.video_threshold if temporal else self.threshold, self.leave_threshold)


@dataclass
class RouteConfig:
    """The width bands, in source pixels of face width, and overrides of the calibrated bounds.

    Attributes:
        skip_below: narrower faces are skipped.
        expert_t_below: from here on sharpness decides between the experts.
        resize_from: wider faces are only resized, unless `large_but_bad`.
        max_yaw: degrees; faces turned further to the side are left alone. None = none is.
        large_but_bad: restore wide faces too if they lack detail, or are blocky or noisy.
        q_low: sharpness below which the middle band goes to Expert-T; None = calibrated.
        detail_low: percent of detail below which a wide face is bad; None = calibrated.
        blockiness_high, noise_high: bounds above which it is bad; None = calibrated.
    """

    skip_below: float = 32.0
    expert_t_below: float = 100.0
    resize_from: float = 150.0
    max_yaw: float | None = None
    large_but_bad: bool = True
    q_low: float | None = None
    detail_low: float | None = None
    blockiness_high: float | None = None
    noise_high: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.skip_below <= self.expert_t_below <= self.resize_from:
            raise ConfigError(
                f"route: got bands {self.skip_below}, {self.expert_t_below}, {self.resize_from}; expected ascending"
            )
        if self.max_yaw is not None and not 0 < self.max_yaw <= 90:
            raise ConfigError(f"route.max_yaw: got {self.max_yaw}, expected degrees above 0, at most 90, or null")


@dataclass(frozen=True)
class RouteBounds:
    """Bounds that `likeness.tasks.calibrate` fits on held-out faces; see `RouteConfig`."""

    q_low: float
    detail_low: float
    blockiness_high: float
    noise_high: float

    def overridden(self, config: RouteConfig) -> RouteBounds:
        """These bounds where the user gave none."""

        def pick(given: float | None, fitted: float) -> float:
            return fitted if given is None else given

        return RouteBounds(
            pick(config.q_low, self.q_low),
            pick(config.detail_low, self.detail_low),
            pick(config.blockiness_high, self.blockiness_high),
            pick(config.noise_high, self.noise_high),
        )


def faults(profile: Profile, bounds: RouteBounds) -> list[str]:
    """What is wrong with a wide face, with the figures; empty for a good one."""
    reasons = []
    if profile.detail < bounds.detail_low:
        reasons.append(f"detail {profile.detail:.1f} % < {bounds.detail_low:.1f}")
    if profile.blockiness > bounds.blockiness_high:
        reasons.append(f"blockiness {profile.blockiness:.2f} > {bounds.blockiness_high:.2f}")
    if profile.noise > bounds.noise_high:
        reasons.append(f"noise {profile.noise:.1f} > {bounds.noise_high:.1f}")
    return reasons


def route(profile: Profile, config: RouteConfig, bounds: RouteBounds) -> Decision:
    """Decides by the table of the bands; `bounds` are already overridden by the user's.

    Returns:
        The route, its reason, and the expert's name (None for skip and resize).

    Examples:
        >>> bounds = RouteBounds(q_low=80, detail_low=4, blockiness_high=2, noise_high=20)
        >>> face = Profile(width=28, qvol=90, sharpness=85, detail=6, blockiness=0.5, noise=3)
        >>> route(face, RouteConfig(), bounds).route
        'skip'
        >>> route(replace(face, width=120), RouteConfig(), bounds).reason
        'width 120 px in 100-150, sharp: sharpness 85 >= 80'
    """
    w = profile.width
    if w < config.skip_below:
        # Rounded down: "32 px < 32" would puzzle.
        return Decision("skip", f"too small: width {floor(w)} px < {config.skip_below:.0f}")
    if w < config.expert_t_below:
        reason = f"small: width {w:.0f} px in {config.skip_below:.0f}-{config.expert_t_below:.0f}"
        return Decision("expert_t", reason, "expert_t")
    if w < config.resize_from:
        return _by_sharpness(
            profile, bounds, f"width {w:.0f} px in {config.expert_t_below:.0f}-{config.resize_from:.0f}"
        )
    bad = faults(profile, bounds) if config.large_but_bad else []
    if bad:
        return _by_sharpness(profile, bounds, f"large but bad: width {w:.0f} px, {', '.join(bad)}")
    return Decision("resize", f"already good: width {w:.0f} px >= {config.resize_from:.0f}")


def reroute(before: Decision, profile: Profile, config: RouteConfig, bounds: RouteBounds, margin: float) -> Decision:
    """Routes a tracked face again; the route changes only if the figures pass the bound by the fraction `margin`.

    Without this hysteresis, a face whose figures hover at a bound would flicker between routes. All figures are scaled
    together, once towards better and once towards worse.
    """
    now = route(profile, config, bounds)
    if now.route == before.route or before.left_alone:  # the gate is asked again
        return now
    for factor in (1 - margin, 1 + margin):
        nearby = replace(
            profile,
            width=profile.width * factor,
            sharpness=profile.sharpness * factor,
            detail=profile.detail * factor,
            blockiness=profile.blockiness / factor,
            noise=profile.noise / factor,
        )
        if route(nearby, config, bounds).route != now.route:
            return before
    return now


def turned_away(
    decision: Decision, yaw: float, config: RouteConfig, before: Decision | None = None, margin: float = 0.0
) -> Decision:
    """Leaves a face alone that would be restored but is turned further than `route.max_yaw`.

    Args:
        decision: so far.
        yaw: of its pose, in degrees.
        config: with the bound.
        before: the track's last decision; one that was left alone must turn back by the fraction `margin` more.
        margin: of the hysteresis.

    Examples:
        >>> turned_away(Decision("expert_t", "small", "expert_t"), 68.2, RouteConfig(max_yaw=60)).reason
        'left alone: turned 68° away (route.max_yaw=60)'
    """
    if decision.expert is None or config.max_yaw is None:
        return decision
    bound = config.max_yaw * (1 - margin if before is not None and before.reason.startswith(TURNED) else 1)
    if abs(yaw) <= bound:
        return decision
    return Decision("skip", f"{TURNED} {abs(yaw):.0f}° away (route.max_yaw={config.max_yaw:g})")


def route_by_gate(
    ruled: Decision, output: GateOutput, bounds: GateBounds, before: Decision | None = None, margin: float = 0.0
) -> Decision:
    """The gate's decision replaces the rule's choice between the experts, or leaves the face alone.

    In a clip the mean over the track decides, since single frames waver; the last `OBSERVATIONS` weigh most. A track
    that was restored stays restored: one would see its detail vanish.

    Args:
        ruled: by the width bands.
        output: the gate's, for this frame.
        bounds: from which Expert-T is chosen, and from which the face is left alone.
        before: the track's last decision.
        margin: 0..1; a track changes its route only where the mean is beyond the bound by more than this.
    """
    if ruled.expert is None:
        return ruled
    expert_t, leave = bounds.expert_t, bounds.leave
    if before is not None and before.gate is not None:
        output = _mean(before.gate, output)
        expert_t += {"expert_t": -margin, "expert_f": margin}.get(before.route, 0.0)
        leave = leave - margin if before.left_alone else 1.0
    if output.leave > leave:
        reason = f"{ruled.reason}; gate: better left alone with {output.leave:.2f} (threshold {bounds.leave:.2f})"
        return Decision("resize", reason, None, output)
    chosen: Literal["expert_t", "expert_f"] = "expert_t" if output.probability > expert_t else "expert_f"
    reason = f"{ruled.reason}; gate: Expert-T better with {output.probability:.2f} (threshold {bounds.expert_t:.2f})"
    return Decision(chosen, reason, chosen, output)


def _mean(before: GateOutput, now: GateOutput) -> GateOutput:
    observations = before.observations + 1
    weight = 1 / min(observations, OBSERVATIONS)
    probability = before.probability + weight * (now.probability - before.probability)
    leave = before.leave + weight * (now.leave - before.leave)
    return replace(now, probability=probability, leave=leave, observations=observations)


def _by_sharpness(profile: Profile, bounds: RouteBounds, prefix: str) -> Decision:
    if profile.sharpness < bounds.q_low:
        reason = f"{prefix}, blurry: sharpness {profile.sharpness:.0f} < {bounds.q_low:.0f}"
        return Decision("expert_t", reason, "expert_t")
    reason = f"{prefix}, sharp: sharpness {profile.sharpness:.0f} >= {bounds.q_low:.0f}"
    return Decision("expert_f", reason, "expert_f")
