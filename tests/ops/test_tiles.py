"""Tiles cover a picture once."""

from __future__ import annotations

import numpy as np
import pytest

from likeness.ops.tiles import tiles


@pytest.mark.parametrize(
    ("height", "width", "size", "count"),
    [(20, 30, 64, 1), (64, 96, 32, 6), (70, 45, 32, 6), (1, 1, 32, 1)],
    ids=["one tile", "exact", "ragged", "single pixel"],
)
def test_tiles_cover_every_pixel_once(height: int, width: int, size: int, count: int) -> None:
    covered = np.zeros((height, width), int)
    places = list(tiles(height, width, size))
    for rows, columns in places:
        assert 0 < rows.stop - rows.start <= size
        assert 0 < columns.stop - columns.start <= size
        covered[rows, columns] += 1
    assert (covered == 1).all()
    assert len(places) == count
