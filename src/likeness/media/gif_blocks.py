"""The blocks of which a GIF file consists (GIF89a specification), as bytes."""

from __future__ import annotations

import struct
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import GifImagePlugin, Image

from likeness.media.gif_palette import Colours

KEEP, RESTORE = 1, 2  # disposal: leave the picture, clear it to transparent (GIF89a, 23)

Indices = npt.NDArray[np.uint8]


def header(size: tuple[int, int], palette: Colours, loop: int | None) -> bytes:
    """Signature, screen, palette and loop count (GIF89a, 17 to 19; Netscape's application extension)."""
    bits = max(1, len(palette).bit_length()) if len(palette) < 256 else 8  # room for the free index as well
    table = palette.tobytes().ljust(3 << bits, b"\x00")
    data = b"GIF89a" + struct.pack("<HHBBB", size[1], size[0], 0xF0 | bits - 1, 0, 0) + table
    if loop is not None:
        data += b"!\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<H", loop) + b"\x00"
    return data


def comment_block(comment: str | None) -> bytes:
    """A comment extension of blocks of at most 255 bytes (GIF89a, 24); nothing for no comment."""
    if not comment:
        return b""
    text = comment.encode("utf-8", "surrogateescape")
    parts = [text[at : at + 255] for at in range(0, len(text), 255)]
    return b"!\xfe" + b"".join(bytes([len(part)]) + part for part in parts) + b"\x00"


def changes(indices: Indices, previous: Indices | None, clear: int | None) -> tuple[Indices, tuple[int, int]]:
    """The smallest rectangle that turns `previous` into `indices`, and its x y; never empty."""
    if previous is None:
        return indices, (0, 0)
    differs = indices != previous
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    if not len(rows):
        return indices[:1, :1], (0, 0)
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    changed = indices[window]
    if clear is not None:
        changed = np.where(differs[window], changed, np.uint8(clear))
    return changed, (int(columns[0]), int(rows[0]))


def write_frame(
    file: IO[bytes], indices: Indices, offset: tuple[int, int], ticks: int, disposal: int, clear: int | None
) -> None:
    """One image block. Pillow compresses it; Pillow's GIF writer is not used, as it merges equal frames."""
    image = Image.fromarray(np.ascontiguousarray(indices))  # mode L: the global palette gives the colours
    extra = {} if clear is None else {"transparency": clear}
    blocks = GifImagePlugin.getdata(image, offset, duration=ticks * 10, disposal=disposal, **extra)
    file.writelines(blocks)
