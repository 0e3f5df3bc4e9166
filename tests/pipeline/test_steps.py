"""One frame: which faces are restored, in which order, how much of each, and that nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from likeness.nets.gate import FEATURES, Gate
from likeness.ops.geometry import invert, resized, warp
from likeness.ops.mask import MASK_SHAPES, template_mask
from likeness.pipeline.config import from_overrides
from likeness.pipeline.report import face_record, summary
from likeness.pipeline.state import ClipState, Context, pasted
from likeness.pipeline.steps import restore_frame
from likeness.stages.background.base import BackgroundPlan
from likeness.stages.background.lanczos import Lanczos, lanczos
from likeness.types import Faces, Frame


def run(scene, faces, models, *options, kind="photo", upscale=1):
    models = replace(models, detector=type(models.detector)([faces]))
    context = Context(models, from_overrides(options), kind, upscale)
    return restore_frame(Frame(scene), ClipState(), context, faces if kind == "photo" else None)[0]


@pytest.mark.parametrize("kind", ["photo", "video"])
@pytest.mark.parametrize("upscale", [1, 2])
@pytest.mark.parametrize("shape", MASK_SHAPES)
def test_background_is_unchanged_outside_the_faces(scene, face_at, make_models, kind, upscale, shape):
    result = run(scene, face_at(150, 110, 80), make_models(), f"composite.mask={shape}", kind=kind, upscale=upscale)
    background = lanczos(scene, upscale)
    (face,) = result.faces
    back = invert(resized(face.crop.matrix, source=upscale, target=2))
    mask = warp(template_mask(512, shape), back, background.shape[1::-1], border=cv2.BORDER_CONSTANT, linear=True)
    np.testing.assert_array_equal(result.pixels[mask == 0], background[mask == 0])
    assert (result.pixels != background).any(2).mean() > 0.02


@pytest.mark.parametrize("method", ["poisson", "feather"])
@pytest.mark.parametrize("upscale", [1, 2, 4])
@pytest.mark.parametrize("change", ["strength", "expert", "guard", "too small", "already good"])
def test_no_change_equals_plain_enlarging(scene, face_at, make_models, stub_expert, method, upscale, change):
    options = [f"composite.method={method}", *(["strength=0"] if change == "strength" else [])]
    width = {"too small": 28, "already good": 160}.get(change, 90)
    expert = stub_expert(0) if change == "expert" else stub_expert()
    models = make_models(expert=expert, same=0.0 if change == "guard" else 5.0)
    result = run(scene, face_at(150, 110, width), models, *options, upscale=upscale)
    np.testing.assert_array_equal(result.pixels, lanczos(scene, upscale))


class Brighter(Lanczos):
    """A background network that adds 20 grey levels."""

    def plan(self, pixels, kind):
        return BackgroundPlan("external", "test", 1.0)

    def enlarge(self, pixels, factor, plan, progress=None):
        return np.clip(lanczos(pixels, factor).astype(int) + 20, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("strength", [1.0, 0.5, 0.0])
def test_face_is_mixed_with_what_the_network_made_of_the_background(scene, face_at, make_models, stub_expert, strength):
    dim = np.ascontiguousarray(scene // 2)  # nothing is clipped
    models = replace(make_models(expert=stub_expert(0)), background=Brighter())
    options = ("composite.method=feather", "guard.enabled=false", f"strength={strength}")
    result = run(dim, face_at(150, 110, 80), models, *options)
    (face,) = result.faces
    back = invert(resized(face.crop.matrix, target=2))
    mask = warp(template_mask(512, "head"), back, dim.shape[1::-1], border=cv2.BORDER_CONSTANT, linear=True)
    np.testing.assert_array_equal(result.pixels[mask == 0], dim[mask == 0] + 20)
    core = mask > 0.9999
    # The expert returns its input, which is 20 levels darker than the network's background.
    added = (result.pixels.astype(float) - dim)[core].mean()
    assert added == pytest.approx(20 * (1 - strength), abs=1)


def test_strength_zero_changes_nothing(scene, face_at, make_models):
    result = run(scene, face_at(150, 110, 90), make_models(), "strength=0")
    np.testing.assert_array_equal(result.pixels, scene)


def test_strength_mixes_linearly(scene, face_at, make_models):
    changes = {}
    for strength in (0.5, 1.0):
        options = (f"strength={strength}", "composite.method=feather")
        result = run(scene, face_at(150, 110, 90), make_models(), *options)
        changes[strength] = result.pixels.astype(float) - scene
        assert result.faces[0].alpha == strength
    whole = scene + changes[1.0]
    inside = (whole > 0) & (whole < 255)  # clipped values are no halves
    np.testing.assert_allclose(changes[0.5][inside], changes[1.0][inside] / 2, atol=1)
    assert np.abs(changes[0.5]).max() > 10


@pytest.mark.parametrize(
    ("options", "restored"),
    [
        ([], [0, 1, 2]),
        (["faces.min=70"], [0, 1]),
        (["faces.max=70"], [2]),
        (["faces.min=70", "faces.max=85"], [1]),
        (["faces.only=largest"], [0]),
        (["faces.only=0"], [0]),
        (["faces.only=2"], [2]),
        (["faces.only=9"], []),
    ],
    ids=str,
)
def test_options_choose_faces(scene, face_at, together, make_models, options, restored):
    faces = together(face_at(70, 100, 90), face_at(170, 100, 80), face_at(260, 100, 60))
    result = run(scene, faces, make_models(), *options)
    assert [i for i, f in enumerate(result.faces) if pasted(f)] == restored
    for i, f in enumerate(result.faces):
        if i not in restored:
            assert f.decision.route == "skip"
            assert f.decision.reason.startswith("not chosen")
            assert options[0].partition("=")[0] in f.decision.reason or len(options) > 1


@pytest.mark.parametrize(
    ("width", "options", "route", "ran"),
    [
        (80, [], "expert_t", "expert_t"),
        (120, ["route.q_low=0"], "expert_f", "expert_f"),
        (120, ["route.q_low=1e9"], "expert_t", "expert_t"),
        (80, ["expert.name=expert_f"], "expert_t", "expert_f"),
        (120, ["route.q_low=0", "expert.name=expert_t"], "expert_f", "expert_t"),
    ],
    ids=str,
)
def test_named_expert_runs(scene, face_at, make_models, stub_expert, width, options, route, ran):
    models = make_models()
    models.experts["expert_t"] = stub_expert()
    (face,) = run(scene, face_at(150, 110, width), models, *options).faces
    assert (face.decision.route, face.decision.expert) == (route, ran)
    assert {name: len(expert.seen) for name, expert in models.experts.items()} == {
        "expert_f": int(ran == "expert_f"),
        "expert_t": int(ran == "expert_t"),
    }


def test_each_expert_runs_once_over_all_its_faces(scene, face_at, together, make_models, stub_expert):
    expert = stub_expert()
    faces = together(*(face_at(40 + 60 * i, 100, 60 + i) for i in range(4)), face_at(100, 200, 30))
    run(scene, faces, make_models(expert=expert))
    assert expert.seen == [4]


@pytest.mark.parametrize("method", ["poisson", "feather"])
def test_overlapping_faces_do_not_depend_on_order(scene, face_at, together, make_models, method):
    near, far = face_at(150, 110, 95), face_at(205, 100, 65)
    option = f"composite.method={method}"
    one = run(scene, together(near, far), make_models(), option, upscale=2).pixels
    other = run(scene, together(far, near), make_models(), option, upscale=2).pixels
    np.testing.assert_array_equal(one, other)
    # The smaller face is pasted first, the larger one over it.
    first = run(scene, far, make_models(), option, upscale=2).pixels
    assert (one != first).any()


def test_larger_face_is_in_front(scene, face_at, together, make_models, stub_expert):
    class Painter(stub_expert):
        """Paints the larger face in one grey level and the smaller one in another."""

        def __init__(self, large, small):
            super().__init__()
            self.levels = large, small

        def restore(self, crops, conditions=None):
            restored = super().restore(crops)
            return [type(r)(np.full_like(r.image, v)) for r, v in zip(restored, self.levels, strict=False)]

    def overlap(large, small):
        faces = together(face_at(150, 110, 95), face_at(165, 110, 60))
        options = ("composite.method=feather", "guard.enabled=false")
        result = run(scene, faces, make_models(expert=Painter(large, small)), *options)
        return result.pixels[105:115, 160:165].astype(int)

    by_large = np.abs(overlap(1.0, 0.5) - overlap(0.0, 0.5)).mean()
    by_small = np.abs(overlap(0.5, 1.0) - overlap(0.5, 0.0)).mean()
    assert by_large > 10 * by_small


@pytest.mark.parametrize("centre", [(0, 110), (319, 110), (150, 0), (150, 239), (0, 0)], ids=str)
@pytest.mark.parametrize("method", ["poisson", "feather"])
def test_face_half_outside_is_restored(scene, face_at, make_models, centre, method):
    result = run(scene, face_at(*centre, 90), make_models(), f"composite.method={method}", upscale=2)
    (face,) = result.faces
    assert 0.15 < face.crop.inside < 0.75
    assert result.pixels.shape == (480, 640, 3)
    assert (result.pixels != lanczos(scene, 2)).any()


def test_guard_reduces_another_person(scene, face_at, make_models, stub_expert):
    stranger = stub_expert(face=np.zeros((512, 512, 3), np.float32))
    (face,) = run(scene, face_at(150, 110, 90), make_models(expert=stranger, same=0.3)).faces
    assert face.verdict.verdict == "reduced"
    assert face.verdict.final_distance <= 0.3 < face.verdict.distance
    assert face.alpha == face.verdict.alpha < 1
    # What is used is the mix, and the one-view distance is measured on it.
    enlarged = np.clip(cv2.resize(face.crop.image, (512, 512), interpolation=cv2.INTER_CUBIC), 0, 1)
    np.testing.assert_allclose(face.final, enlarged * (1 - face.alpha), atol=1e-5)
    assert face.distance == pytest.approx(face.verdict.final_distance, abs=1e-4)


def test_guard_is_undecided_without_a_bound(scene, face_at, make_models, stub_expert):
    stranger = stub_expert(face=np.zeros((512, 512, 3), np.float32))
    (face,) = run(scene, face_at(150, 110, 90), make_models(expert=stranger, same=0.8, other=0.5)).faces
    assert (face.verdict.verdict, face.verdict.bound, face.alpha) == ("undecided", None, 1.0)


def test_guard_off_gives_no_verdict(scene, face_at, make_models):
    (face,) = run(scene, face_at(150, 110, 90), make_models(same=0.0), "guard.enabled=false").faces
    assert face.verdict is None
    assert face.alpha == 1
    assert face.distance > 0


def test_16_bits_stay_and_inputs_are_unchanged(scene, face_at, make_models):
    deep = scene.astype(np.uint16) * 257
    kept = deep.copy()
    faces = face_at(150, 110, 90)
    landmarks = faces.landmarks.copy()
    result = run(deep, faces, make_models(), upscale=2)
    assert result.pixels.dtype == np.uint16
    np.testing.assert_array_equal(deep, kept)
    np.testing.assert_array_equal(faces.landmarks, landmarks)
    assert {"align", "measure", "profile", "restore", "identity", "background", "composite"} == set(result.seconds)
    assert all(f.milliseconds > 0 for f in result.faces)
    shallow = run(scene, faces, make_models(), upscale=2)
    assert np.abs(result.pixels / 257 - shallow.pixels).max() < 4


def test_no_faces_change_nothing(scene, make_models):
    result = run(scene, Faces.empty(), make_models())
    assert result.faces == ()
    np.testing.assert_array_equal(result.pixels, scene)


@pytest.mark.parametrize(
    ("width", "upscale", "said"), [(180, 2, False), (195, 2, True), (195, 1, False), (100, 4, True), (90, 4, False)]
)
def test_large_bad_face_notes_limited_detail(scene, face_at, make_models, width, upscale, said):
    bad = ["route.detail_low=100", "route.resize_from=95", "route.expert_t_below=80", "route.q_low=0"]
    (face,) = run(scene, face_at(150, 110, width), make_models(), *bad, upscale=upscale).faces
    assert any(n.startswith("limited detail") for n in face.notes) is said  # over 768 px: width x 2.03 x upscale


def test_learned_gate_decides_and_is_reported(scene, face_at, together, make_models, stub_expert):
    torch.manual_seed(0)
    gate = Gate()
    models = make_models()
    experts = {name: stub_expert() for name in ("expert_t", "expert_f")}
    faces = together(face_at(110, 120, 120), face_at(250, 110, 28))
    for bias, expected in ((9.0, "expert_t"), (-9.0, "expert_f")):
        gate.layers[-1].bias.data.copy_(torch.tensor([bias, -9.0]))
        result = run(scene, faces, replace(models, gate=gate, experts=experts))
        decided, small = (face.decision for face in result.faces)
        assert (decided.route, decided.expert) == (expected, expected)
        assert decided.gate is not None
        assert decided.gate.probability == pytest.approx(1 / (1 + np.exp(-bias)), abs=0.01)
        assert decided.gate.features["width"] == pytest.approx(120, rel=0.01)
        crop = torch.from_numpy(result.faces[0].crop.image).permute(2, 0, 1)[None]
        norm = float(models.embedder.embed_aligned(crop).norm())
        assert decided.gate.features["norm"] == pytest.approx(norm, rel=1e-5)
        assert (small.route, small.gate) == ("skip", None)  # too small for either
        record = face_record(result.faces[0])
        assert record["gate"]["probability"] == round(decided.gate.probability, 4)
        assert record["gate"]["leave"] == round(decided.gate.leave, 4) < 0.01
        assert set(record["gate"]["features"]) == set(FEATURES)
        assert face_record(result.faces[1])["gate"] is None


def test_face_that_is_better_left_alone_keeps_the_backgrounds_pixels(scene, face_at, make_models, stub_expert):
    gate = Gate()
    gate.layers[-1].bias.data.copy_(torch.tensor([9.0, 9.0]))
    experts = {name: stub_expert() for name in ("expert_t", "expert_f")}
    models = replace(make_models(), gate=gate, experts=experts)
    left, restored = (run(scene, face_at(150, 110, 120), models, f"gate.leave_threshold={bound}") for bound in (0.7, 1))
    assert [r.faces[0].decision.route for r in (left, restored)] == ["resize", "expert_t"]
    assert summary([{**face_record(left.faces[0]), "restored_frames": 0}]) == (
        "1 face: 1 better left alone; gate.leave_threshold=1 restores those left alone"
    )
    small = ["route.skip_below=140", "route.expert_t_below=145"]
    plain = run(scene, face_at(150, 110, 120), models, *small)
    np.testing.assert_array_equal(left.pixels, plain.pixels)
    assert (restored.pixels != plain.pixels).any()


@pytest.mark.parametrize(
    ("kind", "thresholds", "expected"),
    [
        ("photo", (0.7, 0.5), "expert_f"),
        ("photo", (0.5, 0.7), "expert_t"),
        ("video", (0.7, 0.5), "expert_t"),
        ("gif", (0.5, 0.7), "expert_f"),
    ],
)
def test_photos_and_clips_have_their_own_threshold(
    scene, face_at, make_models, stub_expert, kind, thresholds, expected
):
    gate = Gate()
    torch.nn.init.zeros_(gate.layers[-1].weight)
    gate.layers[-1].bias.data.copy_(torch.tensor([np.log(0.6 / 0.4), -9.0]))
    experts = {name: stub_expert() for name in ("expert_t", "expert_f")}
    models = replace(make_models(), gate=gate, experts=experts)
    options = [f"gate.threshold={thresholds[0]}", f"gate.video_threshold={thresholds[1]}"]
    (face,) = run(scene, face_at(150, 110, 120), models, *options, kind=kind).faces
    assert face.decision.expert == expected
