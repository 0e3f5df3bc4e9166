"""Fusion over time: exact at rest, less flicker, nothing carried over what moved, changed or is certain."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from likeness.errors import ConfigError
from likeness.ops.mask import pasted_part
from likeness.stages.temporal.fuse import FuseConfig, Memory, fuse
from likeness.types import Restored

SEEN = astronaut()[20:276, 100:356].astype(np.float32) / 255
LARGE = cv2.resize(SEEN, (512, 512), interpolation=cv2.INTER_CUBIC).clip(0, 1)
OTHER = SEEN.copy()  # another frame that shows the same
OTHER[0, 0] += 1e-4
UNSURE, SURE = np.zeros((64, 64), np.float32), np.ones((64, 64), np.float32)
CONFIG = FuseConfig(share=0.8)
INSIDE = pasted_part(256, 2)


def test_the_first_frame_is_as_restored() -> None:
    found = fuse(SEEN, Restored(LARGE, UNSURE), None, CONFIG)
    assert found.image is LARGE
    assert found.seen is SEEN


def test_equal_frames_give_equal_faces() -> None:
    memory = None
    for change in (0, 0.1, 0.2):  # were it drawn anew each time, it would still be the same face
        memory = fuse(SEEN.copy(), Restored(LARGE * (1 - change), UNSURE), memory, CONFIG)
        np.testing.assert_array_equal(memory.image, LARGE)


def test_what_rests_stays_sharp() -> None:
    """The crop creeps by half a pixel a frame, and what was drawn is read between the pixels each time."""
    places = np.stack(np.meshgrid(np.arange(512), np.arange(512)), -1).astype(np.float32)

    def creeping(image: np.ndarray, by: float) -> np.ndarray:
        return np.clip(cv2.remap(image, places + np.float32(by), None, cv2.INTER_LANCZOS4, borderMode=4), 0, 1)

    frames = [
        (cv2.resize(f, (256, 256), interpolation=cv2.INTER_AREA), f) for f in (creeping(LARGE, i / 2) for i in range(8))
    ]
    memory = None
    for seen, large in frames:
        memory = fuse(seen, Restored(large, UNSURE), memory, FuseConfig(share=0.9))
    kept = (
        cv2.Laplacian(memory.image, cv2.CV_32F)[INSIDE].std() / cv2.Laplacian(frames[-1][1], cv2.CV_32F)[INSIDE].std()
    )
    assert 0.9 < kept < 1.05


def test_unrelated_textures_keep_their_contrast() -> None:
    rng = np.random.default_rng(0)
    first, second = (np.clip(LARGE * 0.6 + 0.2 + 0.03 * rng.standard_normal((512, 512, 1)), 0, 1) for _ in range(2))
    memory = fuse(SEEN, Restored(first.astype(np.float32), UNSURE), None, CONFIG)
    now = Restored(second.astype(np.float32), UNSURE)

    def contrast(image: np.ndarray) -> float:
        return float(np.std((image - cv2.GaussianBlur(image, (0, 0), 2.0))[INSIDE].mean(2)))

    wanted = contrast(now.image)
    flat = contrast(fuse(OTHER, now, memory, FuseConfig(share=0.5, contrast=0)).image)
    assert flat < 0.85 * wanted  # the mean of two unrelated textures
    assert contrast(fuse(OTHER, now, memory, FuseConfig(share=0.5, contrast=1.0)).image) == pytest.approx(
        wanted, rel=0.05
    )
    half = contrast(fuse(OTHER, now, memory, FuseConfig(share=0.5, contrast=0.5)).image)
    assert flat + 0.3 * (wanted - flat) < half < wanted - 0.3 * (wanted - flat)
    # One and the same texture loses nothing, and is given nothing.
    same = fuse(OTHER, Restored(memory.image.copy(), UNSURE), memory, FuseConfig(share=0.5, contrast=1.0)).image
    np.testing.assert_allclose(same, memory.image, atol=2e-3)


def test_flicker_shrinks_by_the_share() -> None:
    images = [np.clip(LARGE * 0.8 + 0.1 + d, 0, 1) for d in (0.05, -0.05)]
    before = images[0].copy()
    memory = fuse(SEEN, Restored(images[0], UNSURE), None, CONFIG)
    found = fuse(OTHER, Restored(images[1], UNSURE), memory, CONFIG)
    change = found.image - images[1]
    np.testing.assert_allclose(change[INSIDE], 0.8 * 0.1, atol=1e-4)
    change[INSIDE] = 0
    assert not change.any()  # what is not pasted was left alone
    np.testing.assert_array_equal(images[0], before)
    half = fuse(OTHER, Restored(images[1], np.full((64, 64), 0.5, np.float32)), memory, CONFIG)
    np.testing.assert_allclose((half.image - images[1])[INSIDE], 0.4 * 0.1, atol=1e-4)
    none = fuse(OTHER, Restored(images[1]), memory, CONFIG)  # an expert without confidence: all of it
    np.testing.assert_allclose(none.image, found.image, atol=1e-6)


@pytest.mark.parametrize(
    ("confidence", "config"), [(SURE, CONFIG), (UNSURE, FuseConfig(share=0))], ids=["certain", "switched off"]
)
def test_what_is_certain_is_not_mixed(confidence: np.ndarray, config: FuseConfig) -> None:
    memory = Memory(SEEN, np.zeros_like(LARGE))
    np.testing.assert_array_equal(fuse(OTHER, Restored(LARGE, confidence), memory, config).image, LARGE)


def test_the_face_is_carried_where_it_went() -> None:
    shift = np.array([[1, 0, 6], [0, 1, -4]], float)
    seen = cv2.warpAffine(SEEN, shift, (256, 256), borderMode=cv2.BORDER_REFLECT)
    large = cv2.warpAffine(LARGE, shift * [[1, 1, 2]], (512, 512), borderMode=cv2.BORDER_REFLECT)
    found = fuse(seen, Restored(large * 0.9, UNSURE), Memory(SEEN, LARGE), CONFIG)
    expected = large * (0.9 + 0.8 * 0.1)
    assert np.abs(found.image - expected)[INSIDE].mean() < 0.25 * np.abs(large * 0.1)[INSIDE].mean()


def test_what_changed_in_the_input_changes_in_the_output() -> None:
    seen, large = SEEN.copy(), LARGE.copy()
    seen[100:160, 100:160] = 1 - seen[100:160, 100:160]  # the eyes close, say
    large[200:320, 200:320] = 1 - large[200:320, 200:320]
    found = fuse(seen, Restored(large, UNSURE), Memory(SEEN, LARGE), CONFIG)
    changed = np.s_[220:300, 220:300]
    assert np.abs(found.image - large)[changed].mean() < 0.1 * np.abs(LARGE - large)[changed].mean()


def test_another_size_starts_anew() -> None:
    small = cv2.resize(LARGE, (256, 256))
    assert fuse(SEEN, Restored(small, UNSURE), Memory(SEEN, LARGE), CONFIG).image is small


@pytest.mark.parametrize("wrong", [{"share": 1.0}, {"share": -0.1}, {"change": 0.0}, {"contrast": 1.5}])
def test_what_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"video\.fuse"):
        FuseConfig(**wrong)
