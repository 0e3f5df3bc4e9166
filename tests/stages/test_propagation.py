"""Propagation: exact at rest, moved with the face, as bright as the frame."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from likeness.errors import ConfigError
from likeness.ops.geometry import enlarged
from likeness.ops.mask import MaskShape, pasted_part
from likeness.stages.temporal.propagation import LONGEST, Pace, PropagateConfig, propagate
from likeness.stages.temporal.state import BlendState

WHOLE = astronaut()[0:300, 80:380].astype(np.float32) / 255
CROP = WHOLE[20:276, 20:276].copy()
INSIDE = pasted_part(256, 2)


def restored(crop: np.ndarray) -> np.ndarray:
    """A sharper version, as an expert might return it."""
    large = enlarged(crop, 512)
    return np.clip(large + 1.5 * (large - cv2.GaussianBlur(large, (0, 0), 3)), 0, 1)


def test_equal_crop_returns_the_last_image() -> None:
    state = BlendState(CROP, restored(CROP))
    assert propagate(CROP.copy(), state) is state.image


@pytest.mark.parametrize(("mask", "most"), [("face", 0.15), ("head", 0.2)])  # at the crop's edge new pixels come in
def test_moved_face_matches_its_restoration(mask: MaskShape, most: float) -> None:
    inside = pasted_part(256, 2, mask)
    before, now = CROP, WHOLE[17:273, 25:281]
    kept = before.copy(), restored(before)
    moved = propagate(now, BlendState(*kept), mask)
    assert moved is not None
    expected = restored(now)
    error = np.abs(moved - expected)[inside].mean()
    assert error < most * np.abs(enlarged(now, 512) - expected)[inside].mean()  # of what there was to add
    sharp = [cv2.Laplacian(x[inside], cv2.CV_32F).var() for x in (moved, expected)]
    assert sharp[0] == pytest.approx(sharp[1], rel=0.1)
    np.testing.assert_array_equal(kept[0], before)
    moved[inside] = enlarged(now, 512)[inside]
    np.testing.assert_array_equal(moved, enlarged(now, 512))  # outside the pasted region nothing changes


def test_brightness_follows_the_frame() -> None:
    moved = propagate(CROP * 0.8, BlendState(CROP, restored(CROP)))
    assert moved is not None
    ratio = moved[INSIDE].mean() / restored(CROP)[INSIDE].mean()
    assert ratio == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize(
    ("now", "why"),
    [(np.random.default_rng(0).random((256, 256, 3), np.float32), "nothing visible"), (CROP[:128, :128], "size")],
    ids=["another picture", "another size"],
)
def test_unsteady_face_is_not_propagated(now: np.ndarray, why: str) -> None:
    assert propagate(now, BlendState(CROP, restored(CROP))) is None, why


@pytest.mark.parametrize("options", [{"every": 0}])
def test_options_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"video\.propagate"):
        PropagateConfig(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fixed", "face", "faces", "target", "every"),
    [
        (None, None, 0, 25, 1),
        (0.01, None, 0, 25, 1),
        (0.01, 0.02, 1, 25, 1),  # 30 of 40 ms
        (0.01, 0.10, 1, 25, 4),  # 10 + 100 / 4 ms
        (0.01, 0.05, 4, 25, 7),  # 10 + 200 / 7 ms
        (0.05, 0.10, 1, 25, LONGEST),  # too slow without the experts
        (0.01, 9.00, 1, 25, LONGEST),
    ],
    ids=["first frame", "no face yet", "fast enough", "every fourth", "four faces", "never fast enough", "bounded"],
)
def test_pace_restores_as_often_as_time_allows(fixed, face, faces, target, every) -> None:
    assert Pace(fixed, face, faces).every(target) == every


def test_pace_averages_over_frames() -> None:
    pace = Pace().after(0.5, 0.4, 2, 0)
    assert (pace.fixed, pace.face, pace.faces) == pytest.approx((0.1, 0.2, 2))
    pace = pace.after(0.2, 0.0, 0, 2)  # nothing restored: what a face costs is not known anew
    assert (pace.fixed, pace.face, pace.faces) == pytest.approx((0.12, 0.2, 2))
    pace = pace.after(0.42, 0.3, 1, 1)
    assert (pace.fixed, pace.face, pace.faces) == pytest.approx((0.12, 0.22, 2))
