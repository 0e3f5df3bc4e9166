"""Temporal metrics of clips with known values: still, moved, flickering, frozen."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.data import astronaut

from likeness.errors import InputError
from likeness.metrics.temporal import (
    identity_spread,
    jitter,
    neighbour_distance,
    smooth,
    temporal_error,
    temporal_mse,
    warping_error,
)
from likeness.ops.flow import motion

PICTURE = astronaut()[40:240, 140:340].astype(np.float32)


def moved(x: int, y: int = 0) -> np.ndarray:
    """The same scene, shifted by `x` and `y` pixels."""
    return astronaut()[40 + y : 240 + y, 140 + x : 340 + x].astype(np.float32)


def test_still_clip_has_zero_error() -> None:
    assert temporal_mse(PICTURE, PICTURE) == temporal_error(PICTURE, PICTURE, PICTURE, PICTURE) == 0
    still = motion(PICTURE, PICTURE)
    assert still.visible.all()
    assert warping_error(PICTURE, PICTURE, still) == 0


def test_flicker_has_its_squared_amplitude() -> None:
    dark, bright = PICTURE - 3, PICTURE + 3
    assert temporal_mse(dark, bright) == pytest.approx(36)
    assert temporal_error(dark, bright, PICTURE, PICTURE) == pytest.approx(36)
    assert warping_error(dark, bright, motion(PICTURE, PICTURE)) == pytest.approx(36)


def test_frozen_clip_of_a_moving_scene_has_a_large_error() -> None:
    now = moved(4)
    true = temporal_mse(PICTURE, now)
    assert temporal_mse(PICTURE, PICTURE) - true == -true  # negative: over-smoothed
    assert temporal_error(PICTURE, PICTURE, PICTURE, now) == pytest.approx(true)
    frozen = warping_error(PICTURE, PICTURE, motion(PICTURE, now))
    assert frozen > 10 * warping_error(PICTURE, now, motion(PICTURE, now))


def test_occluded_points_do_not_count() -> None:
    now = moved(4)
    covered = now.copy()
    covered[60:140, 60:140] = 0  # a black occluder
    moved_ = motion(PICTURE, covered)
    assert moved_.visible[80:120, 80:120].mean() < 0.5
    assert np.isnan(warping_error(PICTURE, now, moved_._replace(visible=np.zeros((200, 200), bool))))


def test_jitter_is_the_mean_second_difference() -> None:
    start = np.array([(0, 0), (10, 0), (5, 5), (2, 8), (8, 8)], float)
    steady = start + np.arange(6)[:, None, None] * np.array([2.0, -1.0])
    assert jitter(steady) == pytest.approx(0, abs=1e-12)
    shaking = start + np.array([0, 1, 0, 1, 0, 1])[:, None, None] * np.array([0.3, 0.4])
    assert jitter(shaking) == pytest.approx(1.0)  # 2 x 0.5
    shaking[2] = np.nan
    assert jitter(shaking) == pytest.approx(1.0)
    assert np.isnan(jitter(steady[:2]))
    with pytest.raises(InputError, match="expected \\(T, 5, 2\\)"):
        jitter(steady[0])


def test_distance_and_spread_of_known_embeddings_are_exact() -> None:
    around = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)], float)
    assert neighbour_distance(around) == pytest.approx(np.sqrt(2))
    assert identity_spread(around) == pytest.approx(1)
    assert np.isnan(neighbour_distance(around[:1]))


def test_smoothing_reduces_noise_without_lag() -> None:
    rng = np.random.default_rng(0)
    path = np.repeat(np.sin(np.arange(60) / 10)[:, None, None] * 10, 5, 1) * np.ones(2)
    noisy = path + rng.normal(0, 1, path.shape)
    smoothed = smooth(noisy, 0.4)
    np.testing.assert_allclose(smooth(np.ones((7, 5, 2)), 0.4), 1)
    np.testing.assert_allclose(smooth(noisy, 1), noisy)
    assert np.abs(smoothed - path)[5:-5].mean() < 0.75 * np.abs(noisy - path)[5:-5].mean()
    # Reversed in time, the result is the same.
    np.testing.assert_allclose(smooth(noisy[::-1], 0.4), smoothed[::-1])


def test_frames_of_different_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="of one shape"):
        temporal_mse(PICTURE, PICTURE[:100])
