"""What a clip remembers of a face: its number, its route, its expert's state, its light, and the look that found it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np

from likeness.pipeline.config import from_overrides
from likeness.pipeline.image import restore_image
from likeness.pipeline.state import Context, GuardedFace
from likeness.stages.restore.base import BaseExpert
from likeness.stages.restore.exposure import gain, level
from likeness.stages.route import RouteBounds
from likeness.types import Faces, Restored
from tests.pipeline.clips import alike, run


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
