"""Tiles: pieces cover a picture once, and local functions do not notice them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from likeness.ops.tiles import tiled, tiles

SIZES = {
    "one tile": (20, 30, 64, 4),
    "exact": (64, 96, 32, 8),
    "ragged": (70, 45, 32, 5),
    "single pixel": (1, 1, 32, 16),
}


@pytest.mark.parametrize("case", SIZES)
def test_cores_cover_every_pixel_once_and_lie_in_what_is_seen(case):
    height, width, size, margin = SIZES[case]
    count = np.zeros((height, width), int)
    for tile in tiles(height, width, size, margin):
        (y0, x0, y1, x1), (top, left, bottom, right) = tile.window, tile.core
        count[top:bottom, left:right] += 1
        assert 0 <= y0 <= top < bottom <= y1 <= height
        assert 0 <= x0 <= left < right <= x1 <= width
        assert y1 - y0 <= size + 2 * margin
        assert x1 - x0 <= size + 2 * margin
        # Context is left out at the picture's own border only.
        assert y0 in (0, top - margin)
        assert x1 in (width, right + margin)
    assert (count == 1).all()


def blur_and_double(image):
    soft = cv2.blur(image, (5, 5), borderType=cv2.BORDER_REFLECT_101)
    return np.repeat(np.repeat(soft, 2, 0), 2, 1)


def test_a_function_that_looks_two_pixels_far_gives_the_same_in_pieces():
    image = np.random.default_rng(0).random((70, 45, 3), np.float32)
    before = image.copy()
    whole = blur_and_double(image)
    np.testing.assert_allclose(tiled(image, blur_and_double, 2, 32, 4), whole, atol=1e-6)
    assert np.array_equal(image, before)
    # Without context the seams show: the test above can fail.
    assert np.abs(tiled(image, blur_and_double, 2, 32, 0) - whole).max() > 0.01
