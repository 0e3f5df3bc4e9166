"""Resizing averages where it shrinks and interpolates where it enlarges."""

from __future__ import annotations

import numpy as np
import pytest

from likeness.ops.resize import resize
from likeness.ops.tensors import to_tensor


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_shrinking_averages_the_area(dtype) -> None:
    image = np.arange(4 * 6 * 3).reshape(4, 6, 3).astype(dtype)
    means = image.reshape(2, 2, 3, 2, 3).astype(np.float64).mean((1, 3))
    small = resize(image, 3, 2)
    assert small.dtype == dtype
    np.testing.assert_allclose(small, means, atol=0.5)


def test_enlarging_keeps_a_ramp_where_the_nearest_pixel_would_make_steps() -> None:
    ramp = np.linspace(0, 1, 32, dtype=np.float32)[None].repeat(8, 0)
    large = resize(ramp, 64, 16)
    assert large.shape == (16, 64)
    steps = np.diff(large[8, 4:-4])
    assert steps.min() > 0.2 / 31
    assert steps.max() < 0.8 / 31


def test_a_picture_of_the_size_is_returned_as_it_is() -> None:
    image = np.zeros((2, 3, 3), np.uint8)
    assert resize(image, 3, 2) is image


def test_a_tensor_holds_every_pixel_at_its_place() -> None:
    image = np.random.default_rng(0).random((4, 5, 3)).astype(np.float32)[:, ::-1]
    tensor = to_tensor(image)
    assert tensor.shape == (1, 3, 4, 5)
    for y, x, c in np.ndindex(image.shape):
        assert tensor[0, c, y, x] == image[y, x, c]
