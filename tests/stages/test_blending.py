"""Temporal blending: exact at rest, less flicker, none of the last frame where the input changed or confidence is 1."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from likeness.errors import ConfigError
from likeness.ops.mask import MASK_SHAPES, MaskShape, pasted_part
from likeness.stages.temporal.blending import BlendConfig, blend
from likeness.stages.temporal.state import BlendState
from likeness.types import Restored

CROP = astronaut()[20:276, 100:356].astype(np.float32) / 255
LARGE = cv2.resize(CROP, (512, 512), interpolation=cv2.INTER_CUBIC).clip(0, 1)
OTHER = CROP.copy()  # another frame that shows the same
OTHER[0, 0] += 1e-4
UNSURE, SURE = np.zeros((64, 64), np.float32), np.ones((64, 64), np.float32)
CONFIG = BlendConfig(weight=0.8)
INSIDE = pasted_part(256, 2)


def test_first_frame_is_unchanged() -> None:
    blended = blend(CROP, Restored(LARGE, UNSURE), None, CONFIG)
    assert blended.image is LARGE
    assert blended.crop is CROP


def test_equal_crops_give_equal_faces() -> None:
    state = None
    for change in (0, 0.1, 0.2):  # whatever the expert returns
        state = blend(CROP.copy(), Restored(LARGE * (1 - change), UNSURE), state, CONFIG)
        np.testing.assert_array_equal(state.image, LARGE)


def test_slow_motion_keeps_sharpness() -> None:
    """The crop moves by half a pixel a frame, so the last face is resampled every time."""
    places = np.stack(np.meshgrid(np.arange(512), np.arange(512)), -1).astype(np.float32)

    def shifted(image: np.ndarray, by: float) -> np.ndarray:
        return np.clip(cv2.remap(image, places + np.float32(by), None, cv2.INTER_LANCZOS4, borderMode=4), 0, 1)

    frames = [
        (cv2.resize(f, (256, 256), interpolation=cv2.INTER_AREA), f) for f in (shifted(LARGE, i / 2) for i in range(8))
    ]
    state = None
    for seen, large in frames:
        state = blend(seen, Restored(large, UNSURE), state, BlendConfig(weight=0.9))
    kept = cv2.Laplacian(state.image, cv2.CV_32F)[INSIDE].std() / cv2.Laplacian(frames[-1][1], cv2.CV_32F)[INSIDE].std()
    assert 0.9 < kept < 1.05


def test_unrelated_textures_keep_their_contrast() -> None:
    rng = np.random.default_rng(0)
    first, second = (np.clip(LARGE * 0.6 + 0.2 + 0.03 * rng.standard_normal((512, 512, 1)), 0, 1) for _ in range(2))
    state = blend(CROP, Restored(first.astype(np.float32), UNSURE), None, CONFIG)
    now = Restored(second.astype(np.float32), UNSURE)

    def contrast(image: np.ndarray) -> float:
        return float(np.std((image - cv2.GaussianBlur(image, (0, 0), 2.0))[INSIDE].mean(2)))

    wanted = contrast(now.image)
    flat = contrast(blend(OTHER, now, state, BlendConfig(weight=0.5, contrast=0)).image)
    assert flat < 0.85 * wanted  # the mean of two unrelated textures
    assert contrast(blend(OTHER, now, state, BlendConfig(weight=0.5, contrast=1.0)).image) == pytest.approx(
        wanted, rel=0.05
    )
    half = contrast(blend(OTHER, now, state, BlendConfig(weight=0.5, contrast=0.5)).image)
    assert flat + 0.3 * (wanted - flat) < half < wanted - 0.3 * (wanted - flat)
    # Equal textures lose no contrast, so none is restored.
    same = blend(OTHER, Restored(state.image.copy(), UNSURE), state, BlendConfig(weight=0.5, contrast=1.0)).image
    np.testing.assert_allclose(same, state.image, atol=2e-3)


@pytest.mark.parametrize("mask", MASK_SHAPES)
def test_flicker_shrinks_by_the_weight(mask: MaskShape) -> None:
    inside = pasted_part(256, 2, mask)
    images = [np.clip(LARGE * 0.8 + 0.1 + d, 0, 1) for d in (0.05, -0.05)]
    before = images[0].copy()
    state = blend(CROP, Restored(images[0], UNSURE), None, CONFIG, mask)
    blended = blend(OTHER, Restored(images[1], UNSURE), state, CONFIG, mask)
    change = blended.image - images[1]
    np.testing.assert_allclose(change[inside], 0.8 * 0.1, atol=1e-4)
    change[inside] = 0
    assert not change.any()  # outside the pasted region nothing changes
    np.testing.assert_array_equal(images[0], before)
    half = blend(OTHER, Restored(images[1], np.full((64, 64), 0.5, np.float32)), state, CONFIG, mask)
    np.testing.assert_allclose((half.image - images[1])[inside], 0.4 * 0.1, atol=1e-4)
    none = blend(OTHER, Restored(images[1]), state, CONFIG, mask)  # without confidence the full weight applies
    np.testing.assert_allclose(none.image, blended.image, atol=1e-6)


@pytest.mark.parametrize(
    ("confidence", "config"), [(SURE, CONFIG), (UNSURE, BlendConfig(weight=0))], ids=["certain", "switched off"]
)
def test_confident_pixels_are_not_blended(confidence: np.ndarray, config: BlendConfig) -> None:
    state = BlendState(CROP, np.zeros_like(LARGE))
    np.testing.assert_array_equal(blend(OTHER, Restored(LARGE, confidence), state, config).image, LARGE)


def test_last_face_moves_with_the_input() -> None:
    shift = np.array([[1, 0, 6], [0, 1, -4]], float)
    seen = cv2.warpAffine(CROP, shift, (256, 256), borderMode=cv2.BORDER_REFLECT)
    large = cv2.warpAffine(LARGE, shift * [[1, 1, 2]], (512, 512), borderMode=cv2.BORDER_REFLECT)
    blended = blend(seen, Restored(large * 0.9, UNSURE), BlendState(CROP, LARGE), CONFIG)
    expected = large * (0.9 + 0.8 * 0.1)
    assert np.abs(blended.image - expected)[INSIDE].mean() < 0.25 * np.abs(large * 0.1)[INSIDE].mean()


def test_changed_input_keeps_the_new_face() -> None:
    seen, large = CROP.copy(), LARGE.copy()
    seen[100:160, 100:160] = 1 - seen[100:160, 100:160]  # the eyes close, say
    large[200:320, 200:320] = 1 - large[200:320, 200:320]
    blended = blend(seen, Restored(large, UNSURE), BlendState(CROP, LARGE), CONFIG)
    changed = np.s_[220:300, 220:300]
    assert np.abs(blended.image - large)[changed].mean() < 0.1 * np.abs(LARGE - large)[changed].mean()


def test_other_size_is_not_blended() -> None:
    small = cv2.resize(LARGE, (256, 256))
    assert blend(CROP, Restored(small, UNSURE), BlendState(CROP, LARGE), CONFIG).image is small


@pytest.mark.parametrize("wrong", [{"weight": 1.0}, {"weight": -0.1}, {"contrast": 1.5}])
def test_config_out_of_range_raises(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"video\.blend"):
        BlendConfig(**wrong)
