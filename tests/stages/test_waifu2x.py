"""The background by waifu2x: no seams, the wanted factor and strength, and when `auto` runs it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from likeness.ops.color import to_float
from likeness.stages.background.base import BackgroundConfig, BackgroundPlan
from likeness.stages.background.lanczos import lanczos
from likeness.stages.background.waifu2x import Auto, Faults, Waifu2x
from likeness.types import Pixels
from likeness.weights.published import WAIFU2X, load_waifu2x

PLAN = BackgroundPlan("waifu2x", "test", 1.0, 1)


@pytest.fixture(scope="module")
def nets():
    return {level: load_waifu2x(level) for level in WAIFU2X}


@pytest.fixture(scope="module")
def background(nets) -> Waifu2x:
    return Waifu2x(nets, BackgroundConfig("waifu2x", tile=32))


@pytest.fixture
def picture(portrait) -> Pixels:
    return np.ascontiguousarray(portrait[60:130, 160:250])


def poor(portrait: Pixels, how: str) -> Pixels:
    """The portrait without its film grain, and with one fault."""
    portrait = cv2.GaussianBlur(cv2.resize(portrait, (256, 256), interpolation=cv2.INTER_AREA), (0, 0), 0.6)
    if how == "good":
        return portrait
    if how == "noise":
        noisy = portrait + np.random.default_rng(0).normal(0, 10, portrait.shape)
        return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    if how == "blocks":
        return cv2.imdecode(cv2.imencode(".jpg", portrait, [cv2.IMWRITE_JPEG_QUALITY, 12])[1], cv2.IMREAD_COLOR)
    return cv2.GaussianBlur(portrait, (0, 0), 3)


def test_tiles_equal_the_network_in_one_piece(background, nets, picture):
    tiled = background.enlarge(picture, 2, PLAN)
    padded = np.pad(to_float(picture), ((7, 7), (7, 7), (0, 0)), "edge")
    with torch.no_grad():
        whole = nets[1](torch.from_numpy(padded).permute(2, 0, 1)[None])[0].permute(1, 2, 0).clamp(0, 1).numpy()
    assert np.abs(tiled.astype(int) - np.rint(whole * 255)).max() <= 1


@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_size_and_depth_are_kept_and_no_seam_shows(background, picture, nets, factor, dtype):
    pixels = picture.astype(dtype) * (257 if dtype == np.uint16 else 1)
    before = pixels.copy()
    out = background.enlarge(pixels, factor, PLAN)
    assert out.shape == (70 * factor, 90 * factor, 3)
    assert out.dtype == dtype
    np.testing.assert_array_equal(pixels, before)
    whole = Waifu2x(nets, BackgroundConfig("waifu2x", tile=256)).enlarge(pixels, factor, PLAN)
    assert np.abs(to_float(out) - to_float(whole)).max() <= 1.5 / 255
    back = cv2.resize(to_float(out), (90, 70), interpolation=cv2.INTER_AREA)
    assert np.abs(back - to_float(pixels)).mean() < 0.02  # the same picture in the same place


def test_strength_mixes_with_lanczos(background, picture):
    full = to_float(background.enlarge(picture, 2, PLAN))
    plain = to_float(lanczos(picture, 2))
    half = to_float(background.enlarge(picture, 2, BackgroundPlan("waifu2x", "test", 0.5, 1)))
    inner = np.s_[16:-16, 16:-16]
    np.testing.assert_allclose(half[inner], ((full + plain) / 2)[inner], atol=1.6 / 255)
    none = background.enlarge(picture, 2, BackgroundPlan("waifu2x", "test", 0.0, 1))
    np.testing.assert_array_equal(none, lanczos(picture, 2))


def test_progress_counts_tiles(background, picture):
    calls = []
    background.enlarge(picture, 2, PLAN, lambda done, count: calls.append((done, count)))
    assert calls == [(i + 1, 9) for i in range(9)]


def test_noise_is_removed(background, portrait):
    noisy, truth = poor(portrait, "noise"), poor(portrait, "good").astype(float)
    plan = background.plan(noisy, "photo")
    assert plan.noise_level == 3
    out = background.enlarge(noisy, 1, plan)
    assert np.square(out - truth).mean() < 0.5 * np.square(noisy - truth).mean()


@pytest.mark.parametrize(
    ("how", "name"), [("good", "lanczos"), ("noise", "waifu2x"), ("blocks", "waifu2x"), ("blur", "waifu2x")]
)
def test_auto_leaves_a_good_picture_alone(nets, portrait, how, name):
    auto = Auto(nets, BackgroundConfig())
    picture = poor(portrait, how)
    plan = auto.plan(picture, "photo")
    assert plan.name == name
    assert (plan.strength > 0) == (name == "waifu2x")
    assert "noise" in plan.reason
    if how == "good":
        np.testing.assert_array_equal(auto.enlarge(picture, 2, plan), lanczos(picture, 2))


@pytest.mark.parametrize(
    ("faults", "level", "poorness"),
    [
        (Faults(0.2, 0.3, 9.0), 0, 0.0),
        (Faults(2.0, 0.3, 9.0), 3, 0.5),
        (Faults(3.0, 0.3, 9.0), 3, 1.0),
        (Faults(0.2, 1.6, 9.0), 1, 0.5),
        (Faults(0.2, 3.0, 9.0), 2, 1.0),
        (Faults(0.2, 5.0, 9.0), 3, 1.0),
        (Faults(0.2, 0.3, 2.0), 1, 0.7),
        (Faults(0.2, 0.3, 4.0), 1, 0.35),
    ],
    ids=str,
)
def test_level_and_strength_follow_the_faults(faults, level, poorness):
    assert faults.level == level
    assert faults.poorness == pytest.approx(poorness)


@pytest.mark.parametrize(("clips", "name"), [(None, "lanczos"), (False, "lanczos"), (True, "waifu2x")])
def test_auto_runs_on_clips_where_asked(nets, portrait, clips, name):
    assert Auto(nets, BackgroundConfig(clips=clips)).plan(poor(portrait, "noise"), "video").name == name
