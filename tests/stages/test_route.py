"""The table of the bands, at its ends, and everything that may overrule it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from likeness.errors import ConfigError
from likeness.stages.route import (
    GateBounds,
    GateOptions,
    RouteBounds,
    RouteConfig,
    faults,
    reroute,
    route,
    route_by_gate,
    turned_away,
)
from likeness.types import Decision, GateOutput, Profile

EVEN = GateBounds(0.5)
BOUNDS = RouteBounds(q_low=80.0, detail_low=4.0, blockiness_high=0.5, noise_high=2.5)
GOOD = Profile(width=120.0, qvol=300.0, sharpness=300.0, detail=10.0, blockiness=0.1, noise=1.0)
BAD = replace(GOOD, detail=2.0)
BLURRY = replace(GOOD, sharpness=20.0, detail=2.0)


@pytest.mark.parametrize(
    ("width", "profile", "expected"),
    [
        (0.0, GOOD, "skip"),
        (31.9, GOOD, "skip"),
        (31.9, BLURRY, "skip"),
        (32.0, GOOD, "expert_t"),
        (32.0, BLURRY, "expert_t"),
        (99.9, GOOD, "expert_t"),
        (100.0, GOOD, "expert_f"),
        (100.0, BLURRY, "expert_t"),
        (149.9, GOOD, "expert_f"),
        (149.9, BLURRY, "expert_t"),
        (150.0, GOOD, "resize"),
        (150.0, BAD, "expert_f"),
        (150.0, BLURRY, "expert_t"),
        (5000.0, GOOD, "resize"),
    ],
)
def test_bands(width, profile, expected):
    decision = route(replace(profile, width=width), RouteConfig(), BOUNDS)
    assert decision.route == expected
    assert decision.expert == (expected if expected.startswith("expert") else None)


@pytest.mark.parametrize(("sharpness", "expected"), [(79.9, "expert_t"), (80.0, "expert_f"), (80.1, "expert_f")])
@pytest.mark.parametrize("width", [100.0, 149.9])
def test_sharpness_decides_in_the_middle(width, sharpness, expected):
    assert route(replace(GOOD, width=width, sharpness=sharpness), RouteConfig(), BOUNDS).route == expected


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, []),
        ({"detail": 4.0}, []),
        ({"detail": 3.9}, ["detail 3.9 % < 4.0"]),
        ({"blockiness": 0.5}, []),
        ({"blockiness": 0.51}, ["blockiness 0.51 > 0.50"]),
        ({"noise": 2.5}, []),
        ({"noise": 2.6}, ["noise 2.6 > 2.5"]),
        ({"detail": 1.0, "noise": 9.0}, ["detail 1.0 % < 4.0", "noise 9.0 > 2.5"]),
    ],
    ids=str,
)
def test_large_but_bad(change, found):
    wide = replace(GOOD, width=200.0, **change)
    assert faults(wide, BOUNDS) == found
    decision = route(wide, RouteConfig(), BOUNDS)
    assert decision.route == ("expert_f" if found else "resize")
    assert all(text in decision.reason for text in found)
    assert route(wide, RouteConfig(large_but_bad=False), BOUNDS).route == "resize"


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        (replace(GOOD, width=28.0), ("too small", "28", "32")),
        (replace(GOOD, width=31.95), ("too small: width 31 px < 32",)),
        (replace(GOOD, width=75.0), ("small", "75")),
        (GOOD, ("sharp", "300", "80")),
        (replace(GOOD, sharpness=20.0), ("blurry", "20", "80")),
        (replace(GOOD, width=200.0), ("already good", "200", "150")),
    ],
    ids=lambda x: "" if isinstance(x, Profile) else x[0],
)
def test_the_reason_names_the_figures(profile, words):
    reason = route(profile, RouteConfig(), BOUNDS).reason
    assert all(word in reason for word in words), reason


def test_the_users_bounds_overrule_the_calibrated():
    config = RouteConfig(q_low=400.0, detail_low=0.0, noise_high=99.0)
    bounds = BOUNDS.overridden(config)
    assert bounds == RouteBounds(400.0, 0.0, 0.5, 99.0)  # zero is a value, None is none
    assert BOUNDS.overridden(RouteConfig()) == BOUNDS
    assert route(GOOD, config, bounds).route == "expert_t"


def test_other_bands():
    config = RouteConfig(skip_below=10, expert_t_below=10, resize_from=300)
    assert [route(replace(GOOD, width=w), config, BOUNDS).route for w in (9.9, 10, 299, 300)] == [
        "skip", "expert_f", "expert_f", "resize",
    ]  # fmt: skip


@pytest.mark.parametrize("bands", [(60, 50, 150), (50, 160, 150), (-1, 50, 60)])
def test_bands_must_rise(bands):
    with pytest.raises(ConfigError, match="ascending"):
        RouteConfig(*bands)


@pytest.mark.parametrize(
    ("name", "before", "now", "expected"),
    [
        ("inside the band", GOOD, replace(GOOD, width=130.0), "expert_f"),
        ("a little over 150", GOOD, replace(GOOD, width=152.0), "expert_f"),
        ("well over 150", GOOD, replace(GOOD, width=170.0), "resize"),
        ("a little under 150", replace(GOOD, width=160.0), replace(GOOD, width=148.0), "resize"),
        ("well under 150", replace(GOOD, width=160.0), replace(GOOD, width=130.0), "expert_f"),
        ("a little under 32", replace(GOOD, width=36.0), replace(GOOD, width=31.0), "expert_t"),
        ("well under 32", replace(GOOD, width=36.0), replace(GOOD, width=28.0), "skip"),
        ("a little blurrier", GOOD, replace(GOOD, sharpness=76.0), "expert_f"),
        ("much blurrier", GOOD, replace(GOOD, sharpness=40.0), "expert_t"),
        ("wide, a little less detail", replace(GOOD, width=200.0), replace(GOOD, width=200.0, detail=3.8), "resize"),
        ("wide, much less detail", replace(GOOD, width=200.0), replace(GOOD, width=200.0, detail=2.0), "expert_f"),
        ("wide, a little noisier", replace(GOOD, width=200.0), replace(GOOD, width=200.0, noise=2.6), "resize"),
    ],
)
def test_a_route_holds_until_the_figures_are_clear(name, before, now, expected):
    config = RouteConfig()
    earlier = route(before, config, BOUNDS)
    assert reroute(earlier, now, config, BOUNDS, margin=0.1).route == expected


def test_without_a_margin_nothing_holds():
    config = RouteConfig()
    assert reroute(route(GOOD, config, BOUNDS), replace(GOOD, width=150.0), config, BOUNDS, 0.0).route == "resize"


@pytest.mark.parametrize(
    ("probability", "threshold", "expected"),
    [
        (0.51, 0.5, "expert_t"),
        (0.5, 0.5, "expert_f"),
        (0.1, 0.5, "expert_f"),
        (0.69, 0.7, "expert_f"),
        (0.71, 0.7, "expert_t"),
    ],
)
@pytest.mark.parametrize("profile", [GOOD, BLURRY, replace(GOOD, width=60.0)])
def test_gate_chooses_between_the_experts(profile, probability, threshold, expected):
    output = GateOutput(probability, 0.1, {"width": profile.width})
    decision = route_by_gate(route(profile, RouteConfig(), BOUNDS), output, GateBounds(threshold))
    assert (decision.route, decision.expert, decision.gate) == (expected, expected, output)
    assert f"gate: Expert-T better with {probability:.2f} (threshold {threshold:.2f})" in decision.reason


@pytest.mark.parametrize("width", [28.0, 200.0])
def test_gate_keeps_skip_and_resize(width):
    ruled = route(replace(GOOD, width=width), RouteConfig(), BOUNDS)
    assert route_by_gate(ruled, GateOutput(0.9, 0.9, {}), GateBounds(0.5, 0.5)) == ruled


@pytest.mark.parametrize(
    ("before", "probability", "expected"),
    [
        # The mean with 0.5, against 0.5 and 0.2 to either side.
        ("expert_t", 0.11, "expert_t"),
        ("expert_t", 0.09, "expert_f"),
        ("expert_f", 0.89, "expert_f"),
        ("expert_f", 0.91, "expert_t"),
    ],
)
def test_track_changes_its_expert_only_beyond_the_margin(before, probability, expected):
    ruled = route(GOOD, RouteConfig(), BOUNDS)
    past = Decision(before, "", before, GateOutput(0.5, 0.0, {}))
    assert route_by_gate(ruled, GateOutput(probability, 0.0, {}), EVEN, past, 0.2).route == expected
    assert past.gate == GateOutput(0.5, 0.0, {})
    # A decision of the rule is not held.
    ruled_before = Decision(before, "", before)
    assert route_by_gate(ruled, GateOutput(probability, 0.0, {}), EVEN, ruled_before, 0.2).route == (
        "expert_t" if probability > 0.5 else "expert_f"
    )


@pytest.mark.parametrize("first", [0.45, 0.55])
def test_wavering_gate_changes_no_track(first):
    ruled = route(GOOD, RouteConfig(), BOUNDS)
    decision = route_by_gate(ruled, GateOutput(first, 0.0, {}), EVEN)
    probabilities = np.random.default_rng(0).uniform(0.35, 0.65, 40)  # as in a good clip
    found = [
        decision := route_by_gate(ruled, GateOutput(float(p), 0.0, {}), EVEN, decision, 0.1) for p in probabilities
    ]
    assert {d.route for d in found} == {"expert_t" if first > 0.5 else "expert_f"}


def test_mean_over_the_track_decides():
    ruled, decision, found = route(GOOD, RouteConfig(), BOUNDS), None, []
    for i in range(40):  # four of five frames are for Expert-T, the first is not
        decision = route_by_gate(ruled, GateOutput(0.3 if i % 5 == 0 else 0.7, 0.0, {}), EVEN, decision, 0.1)
        found.append(decision.route)
    assert found[0] == "expert_f"
    assert set(found[4:]) == {"expert_t"}  # and no single frame changes it again
    assert decision is not None
    assert decision.gate is not None
    assert decision.gate.observations == 40
    assert decision.gate.probability == pytest.approx(0.62, abs=0.09)
    for _ in range(20):  # the camera moves nearer
        decision = route_by_gate(ruled, GateOutput(0.1, 0.0, {}), EVEN, decision, 0.1)
    assert decision.route == "expert_f"


LEAVING = {
    "alone, above the bound": (None, 0.71, "resize"),
    "alone, at the bound": (None, 0.7, "expert_t"),
    "restored before": ("expert_t", 1.0, "expert_t"),
    "left before, mean within the margin": ("resize", 0.41, "resize"),
    "left before, mean beyond the margin": ("resize", 0.39, "expert_t"),
}


@pytest.mark.parametrize("name", LEAVING)
def test_gate_leaves_alone_what_neither_expert_would_better(name):
    before, leave, expected = LEAVING[name]
    ruled, past = route(GOOD, RouteConfig(), BOUNDS), None
    if before is not None:  # the mean is that of the two
        expert = before if before != "resize" else None
        past = Decision(before, "", expert, GateOutput(0.9, 0.8, {}))
    decision = route_by_gate(ruled, GateOutput(0.9, leave, {}), GateBounds(0.5, 0.7), past, 0.1)
    assert (decision.route, decision.expert) == (expected, None if expected == "resize" else expected)
    assert ("better left alone" in decision.reason) is decision.left_alone is (expected == "resize")


def test_face_that_was_left_and_repaired_counts_as_left():
    ruled = route(GOOD, RouteConfig(), BOUNDS)
    past = Decision("resize", "", "expert_t", GateOutput(0.9, 0.75, {}))  # `repair` filled it by Expert-T
    assert route_by_gate(ruled, GateOutput(0.9, 0.75, {}), GateBounds(0.5, 0.7), past, 0.1).route == "resize"


@pytest.mark.parametrize(
    ("gate", "expected"), [(None, "resize"), (GateOutput(0.9, 0.8, {}), "expert_f")], ids=["good before", "left before"]
)
def test_hysteresis_does_not_hold_a_face_that_the_gate_left_alone(gate, expected):
    near = replace(GOOD, width=149.0)
    before = Decision("resize", "", None, gate)
    assert reroute(before, near, RouteConfig(), BOUNDS, 0.1).route == expected


def test_face_that_is_left_no_longer_has_no_expert_to_stay_with():
    ruled = route(GOOD, RouteConfig(), BOUNDS)
    past = Decision("resize", "", None, GateOutput(0.55, 0.3, {}))
    assert route_by_gate(ruled, GateOutput(0.55, 0.3, {}), GateBounds(0.5, 0.7), past, 0.1).route == "expert_t"


def test_a_bound_of_one_never_leaves_a_face():
    ruled = route(GOOD, RouteConfig(), BOUNDS)
    assert route_by_gate(ruled, GateOutput(0.9, 1.0, {}), GateBounds(0.5, 1.0)).route == "expert_t"


def test_photos_and_clips_have_their_own_bounds():
    options = GateOptions(threshold=0.7, video_threshold=0.4, leave_threshold=0.8)
    assert options.bounds(False) == GateBounds(0.7, 0.8)
    assert options.bounds(True) == GateBounds(0.4, 0.8)


RESTORED = Decision("expert_t", "small", "expert_t")


@pytest.mark.parametrize("side", [-1, 1])
def test_a_face_that_turns_back_must_pass_the_bound_by_the_margin(side):
    config, before, skipped = RouteConfig(max_yaw=40), None, []
    for yaw in (30, 39, 41, 37, 41, 35, 39, 41):
        before = turned_away(RESTORED, side * yaw, config, before, margin=0.1)
        skipped.append(before.expert is None)
    assert skipped == [False, False, True, True, True, False, False, True]
    assert before.reason == "left alone: turned 41° away (route.max_yaw=40)"


def test_a_turned_face_is_left_alone_only_where_it_would_be_restored():
    good = Decision("resize", "already good")
    assert turned_away(good, 80, RouteConfig(max_yaw=40)) is good
    assert turned_away(RESTORED, 80, RouteConfig()) is RESTORED
