"""Luma and depth conversions."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.color import rgb2ycbcr

from likeness.ops import color


def test_grey_is_the_standards_luma(photo: np.ndarray) -> None:
    """scikit-image's Y is 16 + 219/255 times the full-range luma."""
    luma = (rgb2ycbcr(photo)[..., 0] - 16) * 255 / 219
    np.testing.assert_allclose(color.grey(photo), luma, atol=0.1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_level_comes_back(dtype: type) -> None:
    levels = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)
    floats = color.to_float(levels)
    assert floats.dtype == np.float32
    assert (floats.min(), floats.max()) == (0, 1)
    np.testing.assert_array_equal(color.to_integer(floats, dtype), levels)


def test_what_overshoots_is_clipped_not_wrapped() -> None:
    np.testing.assert_array_equal(color.to_integer(np.array([-0.2, 0.5, 1.3])), [0, 128, 255])


def test_inputs_unchanged() -> None:
    floats = np.array([[[-0.2, 0.5, 1.3]]], np.float32)
    before = floats.copy()
    color.to_integer(floats)
    color.grey(floats)
    np.testing.assert_array_equal(floats, before)
