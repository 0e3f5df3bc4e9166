"""The guard: who it lets pass, whom it reduces, and when it is undecided."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch

from likeness.data.synthetic_faces import draw_face
from likeness.errors import ConfigError, WeightsError
from likeness.nets.face_embedder import FaceEmbedder, load_embedder
from likeness.ops.geometry import enlarged
from likeness.stages.align import align
from likeness.stages.identity import (
    GuardBounds,
    GuardConfig,
    distance,
    embed,
    guard,
    mix,
    read_calibration,
)

BOUNDS = GuardBounds((10.0, 100.0, 1000.0), (0.7, 0.5, 0.4), (0.6, 0.65, 0.65))


@pytest.fixture(scope="module")
def embedder() -> FaceEmbedder:
    return load_embedder()


@pytest.fixture
def face(portrait, points) -> np.ndarray:
    return align(portrait, points, 256).image


@pytest.fixture(scope="module")
def stranger() -> np.ndarray:
    """Another person: a drawn face, 512 px."""
    return draw_face(512, 3).astype(np.float32) / 255


def test_the_same_face_passes_untouched(embedder, face):
    verdict = guard(embedder, face, enlarged(face, 512), 0.3)
    assert verdict.verdict == "same"
    assert verdict.alpha == 1
    assert verdict.distance == verdict.final_distance < 0.1
    assert verdict.bound == 0.3


@pytest.mark.parametrize("bound", [0.45, 0.3, 0.15])
def test_another_person_is_pulled_back_within_the_bound(embedder, face, stranger, bound):
    kept = face.copy(), stranger.copy()
    verdict = guard(embedder, face, stranger, bound)
    assert verdict.verdict == "reduced"
    assert verdict.distance > 0.6  # dlib's own threshold: not one person
    assert verdict.final_distance <= bound
    assert 0 <= verdict.alpha < 1
    # What the verdict says is what the mixed picture measures.
    mixed = mix(face, stranger, verdict.alpha)
    assert distance(embed(embedder, face), embed(embedder, mixed)) == pytest.approx(verdict.final_distance, abs=1e-5)
    np.testing.assert_array_equal(face, kept[0])
    np.testing.assert_array_equal(stranger, kept[1])


def test_a_tighter_bound_keeps_less(embedder, face, stranger):
    alphas = [guard(embedder, face, stranger, bound).alpha for bound in (0.5, 0.3, 0.1)]
    assert alphas == sorted(alphas, reverse=True)
    assert alphas[0] > alphas[-1]


def test_strictness_divides_the_bound(embedder, face, stranger):
    verdict = guard(embedder, face, stranger, 0.6, strictness=2.0)
    assert verdict.bound == pytest.approx(0.3)
    assert verdict.final_distance <= 0.3


def test_an_undecided_verdict_changes_nothing_and_is_reported(embedder, face, stranger):
    verdict = guard(embedder, face, stranger, None)
    assert (verdict.verdict, verdict.alpha, verdict.bound) == ("undecided", 1.0, None)
    assert verdict.distance == verdict.final_distance > 0.6


def test_four_views_by_hand(embedder, face):
    x = torch.from_numpy(face).permute(2, 0, 1)[None]
    views = [torch.roll(v, s, 3) for v in (x, torch.flip(x, (3,))) for s in (-4, 4)]
    with torch.inference_mode():
        singly = torch.stack([embedder.embed_aligned(v)[0] for v in views])
    np.testing.assert_allclose(embed(embedder, face), singly.mean(0), atol=1e-5)
    with torch.inference_mode():
        one = embedder.embed_aligned(x)[0]
    np.testing.assert_allclose(embed(embedder, face, views=1), one, atol=1e-6)
    assert distance(embed(embedder, face), embed(embedder, face, 1)) > 1e-3


def test_a_512_face_counts_as_its_256_mean(embedder, face, portrait, points):
    large = align(portrait, points, 512).image
    halved = large.reshape(256, 2, 256, 2, 3).mean((1, 3))
    np.testing.assert_allclose(embed(embedder, large), embed(embedder, halved.astype(np.float32)), atol=1e-5)


@pytest.mark.parametrize(
    ("sharpness", "expected"),
    [
        (1000.0, 0.4),
        (5000.0, 0.4),  # beyond the last knot the last bound stands
        (100.0, 0.5),
        (float(np.exp((np.log1p(100) + np.log1p(1000)) / 2) - 1), 0.45),  # halfway in log(1 + s)
        (10.0, None),  # 0.7 of one person, 0.6 of others: undecided
        (0.0, None),
    ],
)
def test_bounds_by_sharpness(sharpness, expected):
    found = BOUNDS.at(sharpness)
    assert found == (expected if expected is None else pytest.approx(expected, abs=1e-6))


@pytest.mark.parametrize(
    "knots", [((1.0,), (0.5,), (0.6,)), ((2.0, 1.0), (0.5, 0.5), (0.6, 0.6)), ((1.0, 2.0), (0.5,), (0.6, 0.6))], ids=str
)
def test_knots_must_make_sense(knots):
    with pytest.raises(WeightsError, match="calibrate"):
        GuardBounds(*knots)


def test_mix_ends(face, stranger):
    assert mix(face, stranger, 1) is stranger
    np.testing.assert_array_equal(mix(face, stranger, 0.0), enlarged(face, 512))
    half = mix(face, stranger, 0.5)
    np.testing.assert_allclose(half, (enlarged(face, 512) + stranger) / 2, atol=1e-6)


def test_enlarge_is_bicubic_and_stays_in_range(face):
    assert enlarged(face, 256) is face
    np.testing.assert_array_equal(
        enlarged(face, 512), np.clip(cv2.resize(face, (512, 512), interpolation=cv2.INTER_CUBIC), 0, 1)
    )


@pytest.mark.parametrize(
    "text", ["", "{", json.dumps({"version": 2, "guard": {}, "route": {}}), json.dumps({"version": 1, "guard": {}})],
    ids=["empty", "broken", "other version", "no route"],
)  # fmt: skip
def test_a_bad_calibration_is_one_line(tmp_path, text):
    file = tmp_path / "c.json"
    file.write_text(text)
    with pytest.raises(WeightsError, match="calibra") as caught:
        read_calibration(file)
    assert "\n" not in str(caught.value)


def test_a_missing_calibration_names_the_command(tmp_path):
    with pytest.raises(WeightsError, match=r"likeness\.tasks\.calibrate"):
        read_calibration(tmp_path / "none.json")


@pytest.mark.parametrize("strictness", [0.0, 11.0])
def test_strictness_range(strictness):
    with pytest.raises(ConfigError, match="strictness"):
        GuardConfig(strictness=strictness)
