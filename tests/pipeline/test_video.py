"""Clips: equal frames give equal results, detection runs when due, and nothing jumps."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest

from likeness.nets.gate import Gate
from likeness.ops.geometry import similarity
from likeness.pipeline.config import from_overrides
from likeness.pipeline.state import ClipState, Context
from likeness.pipeline.steps import restore_frame
from likeness.pipeline.video import restore_video
from likeness.types import Faces, Restored
from tests.pipeline.clips import alike, frames_of, run


@pytest.mark.parametrize(("method", "count"), [("feather", 100), ("poisson", 20)])
def test_equal_frames_give_equal_results(scene, face_at, together, make_models, method, count):
    faces = together(face_at(150.3, 110.7, 90.2, 3), face_at(270.1, 60.9, 60.4, -7))
    results = run([scene.copy() for _ in range(count)], make_models(faces), f"composite.method={method}")
    assert len(results) == count
    assert (results[0].pixels != scene).any()
    for result in results[1:]:
        np.testing.assert_array_equal(result.pixels, results[0].pixels)
        assert [f.track.id for f in result.faces] == [0, 1]


def test_repeated_frame_gets_the_last_result(scene, face_at, make_models):
    """Also while a face fades in, and where a detection is due."""
    pictures = [np.roll(scene, i, 1) for i in (0, 0, 2, 4, 4, 4, 6, 6)]
    options = "video.detect_every=2", "video.blend.weight=0.5", "video.smooth.cutoff=1.0"
    models = make_models(Faces.empty(), face_at(150, 110, 90), face_at(154, 110, 90), expert=Flickering())
    results = run(pictures, models, *options, "guard.enabled=false")
    equal = [(a.pixels == b.pixels).all() for a, b in pairwise(results)]
    assert equal == [True, False, False, True, True, False, True]
    assert [bool(r.seconds) for r in results] == [True, False, True, True, False, False, True, False]
    assert [f.milliseconds > 0 for r in results[5:] for f in r.faces] == [False, True, False]


@pytest.mark.slow
def test_equal_frames_give_equal_results_with_released_networks(scene, released):
    results = run([scene.copy() for _ in range(12)], released)
    assert len(results[0].faces) == 1
    assert (results[0].pixels != scene).any()
    for result in results[1:]:
        np.testing.assert_array_equal(result.pixels, results[0].pixels)


@pytest.mark.parametrize(("every", "expected"), [(5, [0, 5, 10, 15]), (1, list(range(18))), (7, [0, 7, 14])])
def test_detection_runs_every_nth_frame(scene, face_at, make_models, every, expected):
    models = make_models(face_at(150, 110, 90))
    config = from_overrides([f"video.detect_every={every}"])
    state, at = ClipState(), []
    for frame in frames_of(alike(scene, 18)):
        before = len(models.detector.calls)
        _, state = restore_frame(frame, state, Context(models, config, "video", 1))
        if len(models.detector.calls) > before:
            at.append(frame.index)
    assert at == expected


def test_cut_starts_detection_and_new_tracks(scene, face_at, make_models):
    models = make_models(face_at(150, 110, 90), face_at(100, 120, 80))
    results = run([scene] * 3 + [255 - scene] * 4, models)
    assert len(models.detector.calls) == 2
    assert [r.faces[0].track.id for r in results] == [0, 0, 0, 1, 1, 1, 1]
    # After a cut the face is there at once: fading it in would show the poor one.
    alone = run([255 - scene], make_models(face_at(100, 120, 80)))
    np.testing.assert_array_equal(results[3].pixels, alone[0].pixels)


def test_lost_face_starts_detection(scene, face_at, make_models):
    models = make_models(face_at(150, 110, 90))
    flat = np.full_like(scene, int(scene.mean()))  # too alike for a cut, nothing to follow
    run([scene, flat], models, "video.cut=250")
    assert len(models.detector.calls) == 2


def test_face_entering_within_a_shot_fades_in(scene, face_at, make_models):
    face = face_at(150, 110, 90)
    nobody = [Faces.empty()] * 5  # the first frame, and the four pictures of its second look
    results = run(alike(scene, 20), make_models(*nobody, face), "video.ramp=10", "guard.enabled=false")
    assert all(not r.faces for r in results[:5])
    whole = np.abs(run([scene], make_models(face))[0].pixels.astype(float) - scene).sum()
    shown = [np.abs(r.pixels.astype(float) - scene).sum() / whole for r in results[5:]]
    np.testing.assert_allclose(shown[:10], np.arange(1, 11) / 10, atol=0.05)
    np.testing.assert_allclose(shown[10:], 1, atol=1e-4)


def test_face_that_the_gate_leaves_no_longer_fades_in(scene, face_at, make_models, stub_expert):
    class Turning(Gate):
        asked = 0

        def probabilities(self, features):
            self.asked += 1
            return np.array([[0.9, 0.9 if self.asked == 1 else 0.0]])

    face, experts = face_at(150, 110, 90), {name: stub_expert() for name in ("expert_t", "expert_f")}
    models = replace(make_models(face), gate=Turning(), experts=experts)
    options = "video.ramp=10", "guard.enabled=false", "video.blend.weight=0", "gate.leave_threshold=0.6"
    results = run(alike(scene, 20), models, *options)
    routes = [r.faces[0].decision.route for r in results]
    assert routes == ["resize"] * 5 + ["expert_t"] * 15  # the gate is asked at detections
    assert [round(r.faces[0].alpha, 1) for r in results[5:16]] == [round(i / 10, 1) for i in range(1, 11)] + [1.0]


def test_new_verdict_is_ramped(scene, face_at, make_models, stub_expert):
    """From the second detection on the guard finds a stranger: the restored face goes step by step."""

    class Turncoat(stub_expert):
        def _one(self, crop):
            return super()._one(crop) if len(self.seen) <= 5 else np.zeros((512, 512, 3), np.float32)

    models = make_models(face_at(150, 110, 90), expert=Turncoat(), same=0.3)
    alphas = [r.faces[0].alpha for r in run(alike(scene, 25), models, "video.ramp=10", "video.blend.weight=0")]
    assert alphas[:5] == [1.0] * 5
    final = alphas[-1]
    assert final < 0.6
    steps = -np.diff(alphas)
    assert steps.max() <= 0.1 + 1e-9
    assert (steps >= -1e-9).all()
    assert alphas[5] == pytest.approx(0.9)


def test_route_and_guard_hold_between_detections(scene, face_at, make_models):
    rng = np.random.default_rng(0)
    pictures = [np.clip(scene + rng.normal(0, 6, scene.shape), 0, 255).astype(np.uint8) for _ in range(10)]
    results = run(pictures, make_models(face_at(150, 110, 90)))
    for start in (0, 5):
        held = results[start].faces[0]
        for result in results[start + 1 : start + 5]:
            face = result.faces[0]
            assert (face.profile, face.decision, face.verdict) == (held.profile, held.decision, held.verdict)
    assert results[5].faces[0].profile != results[0].faces[0].profile
    assert results[5].faces[0].track.id == results[0].faces[0].track.id


def test_landmarks_follow_the_face_between_detections(scene, face_at, make_models):
    pictures = [np.roll(scene, (i, 2 * i), (0, 1)) for i in range(5)]
    face = face_at(150, 110, 90)
    results = run(pictures, make_models(face))
    for i, result in enumerate(results):
        expected = face.landmarks[0] + np.float32([2 * i, i])
        assert np.linalg.norm(result.faces[0].face.landmarks[0] - expected, axis=1).max() < 0.5


def test_track_ends_after_two_missed_detections(scene, face_at, make_models):
    models = make_models(face_at(150, 110, 90), Faces.empty())
    counts = [len(r.faces) for r in run(alike(scene, 14), models)]
    assert counts == [1] * 10 + [0] * 4


def test_state_does_not_grow(scene, face_at, make_models):
    models = make_models(*(face_at(60 + 40 * (i % 5), 110, 60 + i % 3) for i in range(30)))
    options = ["video.detect_every=1", "video.match=0.9", "video.reid.distance=0", "video.reid.forget=0.3"]
    config, state = from_overrides(options), ClipState()
    for frame in frames_of(alike(scene, 30)):
        _, state = restore_frame(frame, state, Context(models, config, "video", 1))
        assert len(state.tracks) <= 3
        assert len(state.gallery) <= 10  # 0.3 s at 25 frames a second, and those that are visible
    assert state.next_id > 10


def test_no_frames_give_no_results(make_models):
    assert run([], make_models()) == []


def test_wobbling_face_is_aligned_steadily_and_reported_as_detected(scene, face_at, make_models):
    rng = np.random.default_rng(0)
    found = [face_at(150 + dx, 110 + dy, 90) for dx, dy in rng.normal(0, 0.5, (20, 2))]
    frames = frames_of(alike(scene, 20))
    matrices = {}
    for cutoff in (0, 1):
        config = from_overrides(["video.detect_every=1", f"video.smooth.cutoff={cutoff}"])
        results = [r for _, r, _ in restore_video(frames, Context(make_models(*found), config, "video", 1))]
        matrices[cutoff] = np.stack([r.faces[0].crop.matrix for r in results])
        reported = np.stack([r.faces[0].face.landmarks[0] for r in results])

    def shaking(values):
        return np.abs(np.diff(values, 2, axis=0)).mean()

    assert shaking(matrices[1][5:, :, 2]) < 0.5 * shaking(matrices[0][5:, :, 2])
    for matrix, points in zip(matrices[0], reported, strict=True):
        np.testing.assert_array_equal(matrix, similarity(points, 256))


class Flickering:
    """An expert that draws the face brighter and darker in turn, and is sure of nothing."""

    name, input_size, output_size, sha256 = "expert_f", 256, 512, ""

    def __init__(self):
        self.calls = 0

    def restore(self, crops, conditions=None):
        self.calls += 1
        by = np.float32(0.08 if self.calls % 2 else -0.08)
        large = [cv2.resize(c, (512, 512), interpolation=cv2.INTER_CUBIC) for c in crops]
        return [Restored(np.clip(c + by, 0, 1), np.zeros((64, 64), np.float32)) for c in large]


def test_blending_reduces_flicker_within_a_shot_only(scene, face_at, make_models):
    def flicker(*options, pictures=None):
        models = make_models(face_at(150, 110, 120), expert=Flickering())
        frames = pictures or alike(scene, 8, (110, 150))
        results = run(frames, models, "composite.method=feather", "guard.enabled=false", *options)
        return [r.pixels.astype(float) for r in results]

    plain, fused = flicker("video.blend.weight=0"), flicker("video.blend.weight=0.7")
    np.testing.assert_array_equal(plain[0], fused[0])

    def change(pixels):
        return np.mean([np.abs(b - a).mean() for a, b in pairwise(pixels[2:])])

    assert change(fused) < 0.5 * change(plain)
    other = scene[::-1].copy()
    cut = flicker("video.blend.weight=0.7", pictures=[*alike(scene, 2), *alike(other, 2)])
    alone = flicker(pictures=[*alike(scene, 2), *alike(other, 2)])
    np.testing.assert_array_equal(cut[2], alone[2])  # nothing comes over the cut
