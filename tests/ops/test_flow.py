"""Dense motion against known translations, and pictures carried along."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.data import astronaut

from likeness.errors import InputError
from likeness.ops.flow import Motion, motion, warp_by_motion

PICTURE = astronaut()[40:240, 140:340].astype(np.float32)


def moved(x: int, y: int = 0) -> np.ndarray:
    """The same scene, seen from `x` pixels further to the right."""
    return astronaut()[40 + y : 240 + y, 140 + x : 340 + x].astype(np.float32)


@pytest.mark.parametrize("fast", [False, True], ids=["medium", "fast"])
@pytest.mark.parametrize(("x", "y"), [(5, 0), (-3, 2)])
def test_flow_finds_a_translation_and_what_leaves_the_picture(x: int, y: int, fast: bool) -> None:
    found = motion(PICTURE, moved(x, y), fast)
    grid = np.stack(np.meshgrid(np.arange(200), np.arange(200)), -1)
    # A point of the later frame lay (x, y) further in the earlier one.
    middle = (found.where - grid)[40:160, 40:160].reshape(-1, 2)
    assert np.median(middle, axis=0) == pytest.approx((x, y), abs=0.1)
    assert found.visible[40:160, 40:160].mean() > 0.95
    gone = found.visible[:, -x:] if x > 0 else found.visible[:, :-x]
    assert gone.mean() < 0.2


def test_at_rest_a_picture_is_carried_exactly() -> None:
    still = motion(PICTURE, PICTURE)
    np.testing.assert_array_equal(warp_by_motion(PICTURE, still), PICTURE)
    large = np.random.default_rng(0).random((400, 400, 3)).astype(np.float32)
    np.testing.assert_array_equal(warp_by_motion(large, still), large)


@pytest.mark.parametrize("factor", [1, 2])
def test_an_earlier_picture_is_carried_to_where_the_scene_is_now(factor: int) -> None:
    before, now = (np.repeat(np.repeat(p, factor, 0), factor, 1) for p in (PICTURE, moved(4, -2)))
    found = warp_by_motion(before, motion(PICTURE, moved(4, -2)))
    part = np.s_[40 * factor : 160 * factor, 40 * factor : 160 * factor]
    assert np.abs(found - now)[part].mean() < 0.15 * np.abs(before - now)[part].mean()


def test_between_pixels_sharpness_is_kept_where_it_is_asked_for() -> None:
    """A texture that is known everywhere, moved by half a pixel."""
    y, x = np.mgrid[:128, :128].astype(np.float32)

    def texture(shift: float) -> np.ndarray:
        waves = 0.5 + 0.2 * np.sin(1.2 * (x + shift)) + 0.2 * np.sin(0.9 * y)
        return np.stack([waves, 0.9 * waves, 0.8 * waves], -1).astype(np.float32)

    half = Motion(np.stack([x + 0.5, y], -1), np.ones((128, 128), bool))
    inside, truth = np.s_[8:-8, 8:-8], texture(0.5)
    sharp, soft = warp_by_motion(texture(0), half, sharp=True), warp_by_motion(texture(0), half)
    assert np.abs(sharp - truth)[inside].max() < 0.01
    assert soft[inside].std(1).mean() < 0.9 * truth[inside].std(1).mean()
    assert sharp[inside].std(1).mean() == pytest.approx(truth[inside].std(1).mean(), rel=0.02)


def test_colours_that_do_not_move_with_brightness_are_carried_too() -> None:
    picture = np.zeros((64, 64, 3), np.float32)
    picture[:, 20:40] = (0.9, 0.1, 0.2)
    grid = np.stack(np.meshgrid(np.arange(64), np.arange(64)), -1).astype(np.float32)
    found = warp_by_motion(picture, Motion(grid + np.float32((4, 0)), np.ones((64, 64), bool)), sharp=True)
    np.testing.assert_allclose(found[:, :50], picture[:, 4:54], atol=1e-5)


def test_frames_of_two_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="of one shape"):
        motion(PICTURE, PICTURE[:100])
