"""Filling unknown pixels."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from skimage.restoration import inpaint_biharmonic

from likeness.data.synthetic_faces import draw_face
from likeness.ops.fill import fill_smoothly

HOLE = np.zeros((64, 64), np.bool_)
HOLE[20:40, 25:50] = True


def test_known_pixels_and_the_input_stay() -> None:
    image = draw_face(64, 1)
    kept = image.copy()
    filled = fill_smoothly(image, HOLE)
    assert_array_equal(image, kept)
    assert_array_equal(filled[~HOLE], image[~HOLE])
    assert (filled[HOLE] != image[HOLE]).any()


def test_what_lies_in_a_hole_does_not_matter() -> None:
    image = draw_face(64, 1)
    other = image.copy()
    other[HOLE] = 255
    assert_array_equal(fill_smoothly(image, HOLE), fill_smoothly(other, HOLE))


@pytest.mark.parametrize("level", [0, 77, 255])
def test_a_flat_picture_is_filled_flat(level: int) -> None:
    image = np.full((64, 64, 3), level, np.uint8)
    assert_array_equal(fill_smoothly(image, HOLE), image)


def test_a_ramp_is_filled_about_as_well_as_by_biharmonic_inpainting() -> None:
    ramp = np.rint(np.linspace(20, 220, 64)).astype(np.uint8)
    image = np.broadcast_to(ramp[None, :, None], (64, 64, 3)).copy()
    ours = np.abs(fill_smoothly(image, HOLE).astype(float) - image)[HOLE].mean()
    reference = 255 * inpaint_biharmonic(image, HOLE, channel_axis=-1)
    theirs = np.abs(reference - image)[HOLE].mean()
    assert ours < theirs + 12
    assert np.abs(fill_smoothly(image, HOLE).astype(float) - image)[HOLE].max() < 45


@pytest.mark.parametrize("unknown", [np.zeros((8, 8), np.bool_), np.ones((8, 8), np.bool_)], ids=["nothing", "all"])
def test_nothing_and_everything_unknown_leave_the_picture(unknown: np.ndarray) -> None:
    image = draw_face(8, 1)
    assert_array_equal(fill_smoothly(image, unknown), image)
