"""Frames between restored ones: exact at rest, moved where the face moved, as bright as their own input."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from likeness.errors import ConfigError
from likeness.ops.geometry import enlarged
from likeness.ops.mask import pasted_part
from likeness.stages.temporal.carry import CarryConfig, carried_face
from likeness.stages.temporal.fuse import Memory

WHOLE = astronaut()[0:300, 80:380].astype(np.float32) / 255
SEEN = WHOLE[20:276, 20:276].copy()
CONFIG = CarryConfig(every=3)
INSIDE = pasted_part(256, 2)


def restored(seen: np.ndarray) -> np.ndarray:
    """What an expert might make of it: sharper."""
    large = enlarged(seen, 512)
    return np.clip(large + 1.5 * (large - cv2.GaussianBlur(large, (0, 0), 3)), 0, 1)


def test_of_an_equal_crop_it_is_the_same_face() -> None:
    memory = Memory(SEEN, restored(SEEN))
    assert carried_face(SEEN.copy(), memory, CONFIG) is memory.image


def test_a_face_that_moved_is_as_if_it_were_restored() -> None:
    before, now = SEEN, WHOLE[17:273, 25:281]
    kept = before.copy(), restored(before)
    found = carried_face(now, Memory(*kept), CONFIG)
    assert found is not None
    expected = restored(now)
    error = np.abs(found - expected)[INSIDE].mean()
    assert error < 0.15 * np.abs(enlarged(now, 512) - expected)[INSIDE].mean()  # of what there was to add
    sharp = [cv2.Laplacian(x[INSIDE], cv2.CV_32F).var() for x in (found, expected)]
    assert sharp[0] == pytest.approx(sharp[1], rel=0.1)
    np.testing.assert_array_equal(kept[0], before)
    found[INSIDE] = enlarged(now, 512)[INSIDE]
    np.testing.assert_array_equal(found, enlarged(now, 512))  # what is not pasted was left alone


def test_light_is_that_of_the_frame() -> None:
    found = carried_face(SEEN * 0.8, Memory(SEEN, restored(SEEN)), CONFIG)
    assert found is not None
    ratio = found[INSIDE].mean() / restored(SEEN)[INSIDE].mean()
    assert ratio == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize(
    ("now", "why"),
    [(np.random.default_rng(0).random((256, 256, 3), np.float32), "nothing of it is seen"), (SEEN[:128, :128], "size")],
    ids=["another picture", "another size"],
)
def test_what_is_not_steady_is_not_carried(now: np.ndarray, why: str) -> None:
    assert carried_face(now, Memory(SEEN, restored(SEEN)), CONFIG) is None, why


@pytest.mark.parametrize("options", [{"every": 0}, {"visible": 1.1}, {"visible": -0.1}])
def test_options_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"video\.carry"):
        CarryConfig(**options)  # type: ignore[arg-type]
