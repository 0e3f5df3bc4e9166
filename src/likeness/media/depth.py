"""Bits a channel as a file stores them, which Pillow does not tell where it reads 8."""

from __future__ import annotations

from PIL import Image

_HEAD = 1 << 16  # bytes in which a header lies


def stored_bits(image: Image.Image, data: bytes) -> int:
    """Bits a channel of an opened picture: 8 for all that store no more, and for what is not known.

    Args:
        image: as Pillow opened it.
        data: of the file.
    """
    # In BMP the same name means 16 bits for all channels together.
    deep = image.format in ("PNG", "TIFF") and any(";16" in str(tile.args) for tile in getattr(image, "tile", ()))
    if image.mode.startswith("I;16") or deep:
        return 16
    head = data[:_HEAD]
    if image.format == "PPM":
        return 16 if _pnm_maximum(head) > 255 else 8
    if image.format == "JPEG2000":
        at = head.find(b"\xff\x4f\xff\x51")  # start of the codestream and its size marker (ISO/IEC 15444-1, A.5)
        return max(8, (head[at + 42] & 0x7F) + 1) if 0 <= at < len(head) - 42 else 8
    if image.format == "AVIF":
        at = head.find(b"av1C")  # AV1 codec configuration: high_bitdepth and twelve_bit
        flags = head[at + 6] if 0 <= at < len(head) - 6 else 0
        return (12 if flags & 0x20 else 10) if flags & 0x40 else 8
    depth = image.info.get("bit_depth", 8)  # HEIC
    return depth if isinstance(depth, int) else 8


def _pnm_maximum(head: bytes) -> int:
    """The largest value, the third number of the header, comments aside."""
    if head[:2] not in (b"P5", b"P6"):
        return 1
    lines = (line.partition(b"#")[0] for line in head[2:512].split(b"\n"))
    words = b" ".join(lines).split()
    return int(words[2]) if len(words) > 2 and words[2].isdigit() else 255
