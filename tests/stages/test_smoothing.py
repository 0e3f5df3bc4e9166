"""Smoothing over time: exact where there is nothing to smooth, steadier at rest, no lag in motion."""

from __future__ import annotations

import numpy as np
import pytest

from likeness.errors import ConfigError
from likeness.ops.geometry import similarity, template
from likeness.stages.temporal.smoothing import SmoothConfig, smooth_pose

DT = 1 / 25


def face(x: float, y: float, degrees: float = 0.0, width: float = 80.0) -> np.ndarray:
    """The template's landmarks about (x, y)."""
    a = np.deg2rad(degrees)
    linear = width / 125.92 * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    return ((template(256) - 127.5) @ linear.T + (x, y)).astype(np.float32)


def run(path: list[np.ndarray], config: SmoothConfig) -> list[np.ndarray]:
    found, pose = [], None
    for points in path:
        points, pose = smooth_pose(points, pose, DT, config)
        found.append(points)
    return found


@pytest.mark.parametrize("noise", [0.0, 1.5])
def test_the_first_frame_keeps_its_similarity(noise: float) -> None:
    points = face(100, 70, 12, 90) + np.random.default_rng(0).normal(0, noise, (5, 2)).astype(np.float32)
    found, _ = smooth_pose(points, None, DT, SmoothConfig(cutoff=1.5))
    np.testing.assert_allclose(similarity(found, 256), similarity(points, 256), atol=2e-4)


def test_nothing_is_smoothed_at_zero() -> None:
    rng = np.random.default_rng(0)
    path = [face(100 + 3 * i, 70, i, 80 + i) + rng.normal(0, 1, (5, 2)).astype(np.float32) for i in range(6)]
    for points, found in zip(path, run(path, SmoothConfig(cutoff=0)), strict=True):
        np.testing.assert_array_equal(found, points)


def test_a_still_face_stays_exactly_still() -> None:
    found = run([face(100, 70, 5)] * 8, SmoothConfig(cutoff=1.5))
    assert all(np.array_equal(f, found[0]) for f in found)


def test_rest_is_steadier_and_motion_does_not_lag() -> None:
    rng = np.random.default_rng(1)
    # Two seconds at rest, then two face widths to the right within a second, turning and growing.
    t = np.clip(np.arange(100) * DT - 2, 0, 1)
    true = [face(100 + 160 * s, 70 + 20 * s, 20 * s, 80 * 1.3**s) for s in t]
    noisy = [p + rng.normal(0, 0.4, (5, 2)).astype(np.float32) for p in true]
    found = run(noisy, SmoothConfig(cutoff=1.5))

    def error(points: list[np.ndarray], part: slice) -> float:
        centre = [p.mean(0) for p in points[part]]
        return float(np.mean([np.linalg.norm(a - b.mean(0)) for a, b in zip(centre, true[part], strict=True)]))

    def shaking(points: list[np.ndarray], part: slice) -> float:
        return float(np.abs(np.diff(np.stack(points[part]), 2, axis=0)).mean())

    aligned = [face_of(p) for p in noisy]
    rest, motion = slice(10, 48), slice(52, 74)
    assert shaking(found, rest) < 0.5 * shaking(aligned, rest)
    assert error(found, rest) < error(noisy, rest)
    assert error(found, motion) < 1.0  # pixels, at 160 a second: about a sixth of a frame behind


def face_of(points: np.ndarray) -> np.ndarray:
    """The template put where the landmarks' own similarity says."""
    return smooth_pose(points, None, DT, SmoothConfig(cutoff=1.5))[0]


def test_an_angle_takes_the_short_way_around() -> None:
    found = run([face(100, 70, d) for d in (179, 181, 179, 181)], SmoothConfig(cutoff=1, response=0))
    for points in found:
        eyes = points[1] - points[0]
        assert abs(abs(np.rad2deg(np.arctan2(eyes[1], eyes[0]))) - 180) < 1.5


@pytest.mark.parametrize("rate", [10, 50])
def test_time_counts_not_frames(rate: int) -> None:
    """After a step, a low-pass without speed response has moved 1 - exp(-2 pi f t) of the way, whatever the rate."""
    config, pose = SmoothConfig(cutoff=0.2, response=0), None
    _, pose = smooth_pose(face(100, 70), pose, 1 / rate, config)
    for _ in range(rate):
        points, pose = smooth_pose(face(110, 70), pose, 1 / rate, config)
    moved = (points.mean(0) - face(100, 70).mean(0))[0] / 10
    assert moved == pytest.approx(1 - np.exp(-2 * np.pi * 0.2), abs=0.05)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigError, match="cutoff=-1"):
        SmoothConfig(cutoff=-1)
    with pytest.raises(ConfigError, match="expected more than 0"):
        smooth_pose(face(0, 0), None, 0.0, SmoothConfig(cutoff=1.5))
