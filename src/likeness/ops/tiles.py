"""Large pictures in pieces, so that memory does not grow with their size."""

from __future__ import annotations

from collections.abc import Iterator

Tile = tuple[slice, slice]  # rows and columns


def tiles(height: int, width: int, size: int) -> Iterator[Tile]:
    """Cuts a picture into pieces of at most `size` x `size` pixels, row by row; they cover it once.

    Examples:
        >>> [(rows.stop - rows.start, columns.stop - columns.start) for rows, columns in tiles(5, 4, 3)]
        [(3, 3), (3, 1), (2, 3), (2, 1)]
    """
    for top in range(0, height, size):
        for left in range(0, width, size):
            yield slice(top, min(top + size, height)), slice(left, min(left + size, width))
