"""The recipe `film`: motion, noise and encoding of a clip made from one picture."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from likeness.data.degradations import film
from likeness.data.degradations.codecs import ENCODERS
from likeness.data.degradations.recipes import FILM_FRAMES, SETTLED_FRAME, DegradationParams
from likeness.data.degradations.stills import apply_degradation
from likeness.ops.color import grey
from likeness.types import Pixels


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def params(**changes: object) -> DegradationParams:
    plain = {"recipe": "film", "sigma": 0.05, "codec": "film", "codec_level": 25, "frame": 4}
    return DegradationParams(**{**plain, **changes})  # type: ignore[arg-type]


def squared_error(degraded: Pixels, truth: Pixels) -> float:
    return float(np.square(degraded.astype(float) - truth).mean())


@pytest.mark.parametrize("seed", range(3))
def test_returned_frame_is_aligned_with_the_input(face: Pixels, seed: int) -> None:
    """No shift fits the input better than none."""
    degraded = apply_degradation(face, params(move_x=1.6, move_y=-1.1, film_seed=seed), rng()).astype(float)
    inside = np.s_[16:-16, 16:-16]
    errors = {
        (x, y): np.square(np.roll(degraded, (y, x), (0, 1)) - face)[inside].mean()
        for x in (-1, 0, 1)
        for y in (-1, 0, 1)
    }
    assert min(errors, key=lambda shift: errors[shift]) == (0, 0)
    assert errors[0, 0] < 60


def frames_before_encoding(face: Pixels, p: DegradationParams, monkeypatch: pytest.MonkeyPatch) -> list[Pixels]:
    captured: list[Pixels] = []

    def capture(frames: list[Pixels], index: int, level: int, encoder: str) -> Pixels:
        captured.extend(frames)
        return frames[index]

    monkeypatch.setattr(film, "encode_clip_frame", capture)
    apply_degradation(face, p, rng())
    return captured


def test_face_moves_by_the_given_steps(face: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    window = cv2.createHanningWindow((256, 256), cv2.CV_64F)  # the mirrored border moves the other way
    for seed in range(8):
        frames = frames_before_encoding(face, params(move_x=1.5, move_y=-0.8, film_seed=seed), monkeypatch)
        assert len(frames) == FILM_FRAMES
        assert_array_equal(frames[4], face)  # a blur of 0.05 changes nothing
        for before, now in itertools.pairwise(frames):
            shift, _ = cv2.phaseCorrelate(grey(before).astype(np.float64), grey(now).astype(np.float64), window)
            steps.append(shift)
            assert np.abs(now.astype(int) - before).mean() > 1
    assert_allclose(np.median(steps, axis=0), (1.5, -0.8), atol=0.25)


def test_face_deforms_beyond_a_similarity(face: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    residuals = []
    for seed in range(8):
        frames = frames_before_encoding(face, params(film_seed=seed), monkeypatch)
        flow = cv2.calcOpticalFlowFarneback(grey(frames[0]), grey(frames[4]), None, 0.5, 4, 21, 5, 7, 1.5, 0)  # type: ignore[call-overload]
        y, x = np.mgrid[:256, :256].astype(float)
        u, v = x.ravel(), y.ravel()
        # x' = a u - b v + c, y' = b u + a v + d
        one, none = np.ones_like(u), np.zeros_like(u)
        rows = np.vstack([np.stack([u, -v, one, none], 1), np.stack([v, u, none, one], 1)])
        displacement = np.concatenate([flow[..., 0].ravel(), flow[..., 1].ravel()])
        fit = np.linalg.lstsq(rows, displacement, rcond=None)[0]
        residuals.append(float(np.sqrt(np.square(displacement - rows @ fit).mean())))
    assert max(residuals) > 1.0
    assert np.median(residuals) > 0.25


def test_noise_has_the_given_sigma_and_is_new_in_every_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = np.full((256, 256, 3), 128, np.uint8)
    frames = [f.astype(float) for f in frames_before_encoding(flat, params(noise=6.0, film_seed=2), monkeypatch)]
    for before, now in itertools.pairwise(frames):
        assert now.std() == pytest.approx(6, rel=0.03)
        assert abs(np.corrcoef(before.ravel(), now.ravel())[0, 1]) < 0.02


def test_later_frames_have_larger_errors_than_the_first(face: Pixels) -> None:
    first, later = (
        np.mean(
            [
                squared_error(apply_degradation(face, params(frame=f, film_seed=s, codec_level=34), rng()), face)
                for s in range(6)
            ]
        )
        for f in (0, SETTLED_FRAME)
    )
    assert later > 1.2 * first


@pytest.mark.parametrize("encoder", ENCODERS)
def test_error_grows_with_the_level_and_is_reproducible(face: Pixels, encoder: str) -> None:
    levels = [params(move_x=1.0, noise=3.0, codec_level=c, encoder=encoder, film_seed=3) for c in (23, 30, 40)]
    errors = [squared_error(apply_degradation(face, p, rng()), face) for p in levels]
    assert errors == sorted(errors)
    assert errors[-1] > 1.5 * errors[0]
    assert_array_equal(apply_degradation(face, levels[1], rng()), apply_degradation(face, levels[1], rng()))


@pytest.mark.parametrize("encoder", [e for e in ENCODERS if e != "libx264"])
def test_encoders_have_similar_errors_at_the_same_level(face: Pixels, encoder: str) -> None:
    for level in (26, 36):
        x264, other = (
            np.mean(
                [
                    squared_error(
                        apply_degradation(face, params(film_seed=s, codec_level=level, encoder=e), rng()), face
                    )
                    for s in range(3)
                ]
            )
            for e in ("libx264", encoder)
        )
        assert 0.5 < other / x264 < 3


@pytest.mark.parametrize("encoder", ENCODERS)
def test_odd_sizes_are_encoded_and_the_input_is_not_changed(face: Pixels, encoder: str) -> None:
    before = face.copy()
    degraded = apply_degradation(face, params(shrink=3.1, move_y=1.0, encoder=encoder), rng())  # 83 pixels
    assert degraded.shape == face.shape
    assert np.abs(degraded.astype(int) - face).mean() < 12
    assert_array_equal(face, before)
