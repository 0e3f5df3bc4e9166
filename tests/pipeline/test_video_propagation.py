"""Clips whose faces are restored on every nth frame, at the size of the crop, or measured on detections alone."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest

from likeness.errors import ConfigError
from likeness.pipeline.config import from_overrides
from likeness.pipeline.state import ClipState, Context
from likeness.pipeline.steps import restore_frame
from tests.pipeline.clips import alike, frames_of, run


@pytest.mark.parametrize(
    ("every", "ran"), [(1, list(range(10))), (2, [0, 2, 4, 6, 8]), (3, [0, 3, 6, 9])], ids=["all", "second", "third"]
)
def test_expert_runs_on_every_nth_frame(scene, face_at, make_models, stub_expert, every, ran):
    expert = stub_expert()
    config = from_overrides([f"video.propagate.every={every}", "video.detect_every=5", "composite.method=feather"])
    models = make_models(face_at(150, 110, 120), expert=expert)
    moving = [np.roll(scene, i, 1) for i in range(10)]
    state, at, results = ClipState(), [], []
    for frame in frames_of(moving):
        before = len(expert.seen)
        result, state = restore_frame(frame, state, Context(models, config, "video", 1))
        results.append(result)
        if len(expert.seen) > before:
            at.append(frame.index)
    assert at == ran
    assert [r.faces[0].frames_since_restore == 0 for r in results] == [i in ran for i in range(10)]
    assert all(r.faces[0].final is not None for r in results)
    still = run([scene] * 10, make_models(face_at(150, 110, 120)), f"video.propagate.every={every}")
    for result in still[1:]:
        np.testing.assert_array_equal(result.pixels, still[0].pixels)


def test_slow_expert_runs_less_often_to_reach_the_target(scene, face_at, make_models, stub_expert):
    class Slow(stub_expert):
        def _one(self, crop):
            time.sleep(0.5)
            return super()._one(crop)

    moving = [np.roll(scene, i, 1) for i in range(16)]
    options = "video.target_fps=4", "composite.method=feather", "guard.enabled=false"
    results = run(moving, make_models(face_at(150, 110, 120), expert=Slow()), *options)
    restored = sum(r.faces[0].frames_since_restore == 0 for r in results)
    assert 2 <= restored <= 8  # half a second each, of a quarter of a second a frame
    fast = run(moving, make_models(face_at(150, 110, 120)), "video.target_fps=0.01", *options[1:])
    assert all(r.faces[0].frames_since_restore == 0 for r in fast)


@pytest.mark.parametrize("target", [-1, 1001])
def test_impossible_target_is_refused(target):
    with pytest.raises(ConfigError, match=r"video\.target_fps: got .*, expected 0 or up to 1000"):
        from_overrides([f"video.target_fps={target}"])


@pytest.mark.parametrize(
    ("width", "upscale", "share", "size"),
    [(80, 1, 0.7, 256), (80, 2, 0.7, 512), (100, 1, 0.7, 512), (80, 1, 0.0, 512)],
    ids=["shown small", "shown large", "a wide face", "never"],
)
def test_face_shown_small_is_pasted_at_the_crop_size(scene, face_at, make_models, width, upscale, share, size):
    pictures = [np.roll(scene, i, 1) for i in range(3)]
    options = "video.propagate.every=2", "composite.method=feather", "guard.enabled=false"
    models = make_models(face_at(150, 110, width))
    results = run(pictures, models, *options, f"video.reduce={share}", upscale=upscale)
    assert [r.faces[0].final.shape[0] for r in results] == [size] * 3
    assert [r.faces[0].frames_since_restore for r in results] == [0, 1, 0]
    large = run(pictures, make_models(face_at(150, 110, width)), *options, upscale=upscale)
    for small, full, picture in zip(results, large, pictures, strict=True):
        given = cv2.resize(picture, None, fx=upscale, fy=upscale, interpolation=cv2.INTER_LANCZOS4)
        added = np.abs(full.pixels.astype(float) - given).mean()
        assert np.abs(small.pixels.astype(float) - full.pixels).mean() < 0.25 * added


def test_expert_with_another_factor_is_not_reduced(scene, face_at, make_models, stub_expert):
    class Four(stub_expert):
        def _one(self, crop):
            return np.clip(cv2.resize(crop, (1024, 1024), interpolation=cv2.INTER_CUBIC), 0, 1)

    models = make_models(face_at(150, 110, 80), expert=Four())
    results = run(alike(scene, 3), models, "video.reduce=0.7", "guard.enabled=false")
    assert [r.faces[0].final.shape[0] for r in results] == [1024] * 3


def test_face_shown_large_once_is_not_reduced(scene, face_at, make_models):
    """It shrinks, and its last face is still one of the same size, which fuses on."""
    models = make_models(face_at(150, 110, 92), face_at(150, 110, 84), face_at(150, 110, 80))
    options = "video.detect_every=1", "video.smooth.cutoff=0", "video.reduce=0.7"
    results = run(alike(scene, 6), models, *options)
    assert {r.faces[0].final.shape[0] for r in results} == {512}


def test_nothing_is_propagated_over_a_cut(scene, face_at, make_models):
    other = scene[::-1].copy()
    pictures = [*alike(scene, 2), *alike(other, 2)]
    results = run(pictures, make_models(face_at(150, 110, 120)), "video.propagate.every=4")
    assert [r.faces[0].frames_since_restore for r in results] == [0, 1, 0, 1]


def test_distance_may_be_limited_to_detections(scene, face_at, make_models):
    results = run(alike(scene, 7), make_models(face_at(150, 110, 120)), "guard.every_frame=false")
    assert [r.faces[0].distance is not None for r in results] == [True] + [False] * 4 + [True, False]
    everywhere = run(alike(scene, 7), make_models(face_at(150, 110, 120)))
    assert all(r.faces[0].distance == everywhere[0].faces[0].distance for r in everywhere)
    for mine, theirs in zip(results, everywhere, strict=True):
        np.testing.assert_array_equal(mine.pixels, theirs.pixels)
