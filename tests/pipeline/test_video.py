"""Clips: equal frames give equal results, detection runs when due, and nothing jumps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np
import pytest

from likeness.ops.geometry import similarity
from likeness.pipeline.config import from_overrides
from likeness.pipeline.image import restore_image
from likeness.pipeline.models import load_models
from likeness.pipeline.state import ClipState, Context, GuardedFace
from likeness.pipeline.steps import restore_frame
from likeness.pipeline.video import restore_video
from likeness.stages.restore.base import BaseExpert
from likeness.stages.restore.exposure import gain, level
from likeness.stages.route import RouteBounds
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
def test_equal_frames_give_equal_results_with_released_networks(scene):
    results = run([scene.copy() for _ in range(12)], load_models(from_overrides(["device=cpu"])))
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


def test_returning_face_keeps_its_track_number(scene, face_at, make_models):
    """Cut away and back: the number, the route and the verdict are those of before, and fusion starts anew."""
    away = scene[::-1].copy()
    face, other = face_at(150, 110, 90), face_at(100, 120, 80)
    pictures = [scene] * 3 + [away] * 3 + [scene] * 3
    models = make_models(face, other, face)
    results = run(pictures, models, "video.blend.weight=0.5")
    assert [r.faces[0].track.id for r in results] == [0] * 3 + [1] * 3 + [0] * 3
    np.testing.assert_array_equal(results[6].pixels, results[0].pixels)
    never = run(pictures, make_models(face, other, face), "video.reid.distance=0")
    assert [r.faces[0].track.id for r in never] == [0] * 3 + [1] * 3 + [2] * 3
    late = run(pictures, make_models(face, other, face), "video.reid.forget=0.1")
    assert [r.faces[0].track.id for r in late] == [0] * 3 + [1] * 3 + [2] * 3


def test_returning_track_keeps_its_route_within_the_margin(scene, face_at, make_models, stub_expert):
    away = scene[::-1].copy()
    pictures = [scene] * 2 + [away] * 2 + [scene] * 2
    experts = {name: stub_expert() for name in ("expert_t", "expert_f")}

    def routes(*options):
        # 104 px: the sharp middle band; 98 px, a little later: the small one, but within the margin of a tenth.
        faces = face_at(150, 110, 104), face_at(100, 120, 60), face_at(150, 110, 98)
        models = replace(make_models(*faces), experts=experts, route_bounds=RouteBounds(0.0, 4.0, 2.0, 20.0))
        return [r.faces[0].decision.route for r in run(pictures, models, *options)]

    assert routes() == ["expert_f"] * 2 + ["expert_t"] * 2 + ["expert_f"] * 2
    assert routes("video.reid.distance=0") == ["expert_f"] * 2 + ["expert_t"] * 4


class Counting:
    """An expert that records the state it is given with every face, and returns numbers as states."""

    name, input_size, output_size, sha256 = "expert_f", 256, 512, ""

    def __init__(self):
        self.given, self.next = [], 0

    def restore(self, crops, conditions=None):
        self.given.append(conditions and [c.state for c in conditions])
        assert all(c.weight >= 1 for c in conditions or ())
        restored = []
        for crop in crops:
            self.next += 1
            restored.append(Restored(cv2.resize(crop, (512, 512), interpolation=cv2.INTER_CUBIC), state=self.next))
        return restored


def test_expert_gets_the_state_of_each_face_within_a_shot(scene, face_at, together, make_models):
    expert, two = Counting(), together(face_at(150, 110, 95), face_at(270, 60, 80))
    away = scene[::-1].copy()
    run([*alike(scene, 3), away], make_models(two, face_at(100, 120, 80), expert=expert), "video.reid.distance=0")
    # Larger faces first; nothing survives the cut.
    assert expert.given == [[None, None], [1, 2], [3, 4], [None]]


def test_photo_has_no_conditions(scene, face_at, make_models):
    expert = Counting()
    context = Context(make_models(expert=expert), from_overrides([]), "photo", 1)
    assert isinstance(restore_image(scene, context, face_at(150, 110, 120)).faces[0], GuardedFace)
    assert expert.given == [None]


class Plain(BaseExpert):
    """An expert that enlarges, and notes how bright the faces are that it reads."""

    name, input_size, output_size, sha256 = "expert_f", 256, 512, ""

    def __init__(self):
        self.levels = []

    def _restore(self, crops, conditions):
        self.levels += [level(c) for c in crops]
        return [Restored(cv2.resize(c, (512, 512), interpolation=cv2.INTER_CUBIC)) for c in crops]


def test_gain_of_a_dark_face_changes_slowly_within_a_shot(scene, face_at, make_models):
    # The light goes down by a third and up again: no cut, as the picture is dark throughout.
    dark = [np.rint(scene * share).astype(np.uint8) for share in [0.3] * 3 + [0.2] * 3 + [0.3] * 3]
    for frame in dark[1::2]:
        frame[-1, -1] ^= 1  # or it would repeat the one before
    expert = Plain()
    options = "guard.enabled=false", "video.blend.weight=0"
    results = run(dark, make_models(face_at(150, 110, 120), expert=expert), *options)
    gains, wanted = [r.faces[0].gain for r in results], [gain(r.faces[0].crop.image) for r in results]
    assert gains[0] == wanted[0] > 1.5
    assert max(wanted) > 1.3 * min(wanted)
    assert all(abs(np.log(b / a)) <= 0.1 * abs(np.log(max(wanted) / min(wanted))) + 1e-6 for a, b in pairwise(gains))
    assert gains[5] > gains[2]
    seen = [level(r.faces[0].crop.image) * g for r, g in zip(results, gains, strict=True)]
    np.testing.assert_allclose(expert.levels, seen, rtol=0.02)
    # An expert that adds nothing changes nothing, however bright it reads the face.
    for result, frame in zip(results, dark, strict=True):
        assert np.abs(result.pixels.astype(int) - frame).max() <= 1


def test_gain_restarts_at_a_cut_even_for_a_known_face(scene, face_at, make_models):
    dark, ordinary = np.rint(scene * 0.25).astype(np.uint8), np.rint(scene * 0.9).astype(np.uint8)
    models = make_models(face_at(150, 110, 120), expert=Plain())
    results = run([*alike(dark, 2), *alike(ordinary, 2), dark], models, "video.reid.distance=99")
    assert {r.faces[0].track.id for r in results} == {0}
    for result in (results[0], results[2], results[4]):
        assert result.faces[0].gain == gain(result.faces[0].crop.image)
    assert results[4].faces[0].gain > 1.5
    assert results[2].faces[0].gain == results[3].faces[0].gain == 1


@dataclass
class NightDetector:
    """Finds the face in grey pictures only; counts all of them."""

    face: Faces
    name: str = "night"
    calls: int = 0

    def detect(self, frames):
        self.calls += len(frames)
        grey = all(np.ptp(frame.astype(int), axis=2).max() == 0 for frame in frames)
        return [self.face if grey else Faces.empty() for _ in frames]

    def doubt(self, pixels, face, doubted=False):
        return ""


def test_a_track_remembers_the_look_that_found_it(scene, face_at, make_models):
    models = replace(make_models(), detector=NightDetector(face_at(150, 110, 90)))
    results = run(alike(scene, 12), models, "guard.enabled=false")
    assert all([face.track.id for face in result.faces] == [0] for result in results)
    assert {face.notes[0] for result in results for face in result.faces} == {
        "found by a second look: grey and equalised"
    }
    # Frames 0, 5 and 10: five pictures at first, then the frame itself and its grey picture.
    assert models.detector.calls == 5 + 2 + 2


def test_a_clip_without_faces_rarely_gets_a_second_look(scene, make_models):
    models = make_models(Faces.empty())
    run(alike(scene, 41), models)
    # Frames 0, 5 ... 40 are searched; the cut at 0 and the fortieth frame get four pictures more.
    assert len(models.detector.calls) == 9 + 2 * 4


def test_an_implausible_face_is_left_alone_until_it_is_plausible(scene, face_at, make_models):
    models = make_models(face_at(150, 110, 90))
    answers, asked = iter(["landmarks move", "landmarks move", ""]), []
    models.detector.doubt = lambda pixels, face, doubted: asked.append(doubted) or next(answers)
    results = run(alike(scene, 16), models, "guard.enabled=false")
    reasons = [result.faces[0].decision.reason for result in results]
    assert [reason.startswith("implausible landmarks: landmarks move") for reason in reasons] == [True] * 10 + [
        False
    ] * 6
    assert asked == [False, True, True]
    assert np.array_equal(results[8].pixels, scene)
    assert results[0].faces[0].decision.expert is None
    assert results[15].faces[0].decision.expert is not None
