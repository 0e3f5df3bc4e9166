"""DTS frames with a tone, written bit by bit, as FFmpeg has no encoder that PyAV's wheels carry."""

from __future__ import annotations

import numpy as np

RATE, SAMPLES = 48000, 512  # of one frame
_BYTES = 96  # the smallest frame


def tone(pitch: float, seconds: float) -> list[bytes]:
    """Mono frames of a tone below 700 Hz (ETSI TS 102 114, clause 5: header, coding header, two subframes).

    Only the lowest of 32 subbands, 0 to 750 Hz, holds anything: a cosine sampled at 1500 Hz, in 8 bits.
    """
    count = int(seconds * RATE / SAMPLES)
    samples = np.cos(2 * np.pi * pitch * np.arange(16 * count) / (RATE / 32))
    return [_frame(frame) for frame in np.round(100 * samples).astype(int).reshape(count, 2, 8)]


def _frame(subframes: np.ndarray) -> bytes:
    bits: list[int] = []

    def put(value: int, width: int) -> None:
        bits.extend(value >> i & 1 for i in reversed(range(width)))

    put(0x7FFE8001, 32)  # sync word
    put(0b1_11111_0, 7)  # a normal frame of whole blocks, no CRC
    put(SAMPLES // 32 - 1, 7)
    put(_BYTES - 1, 14)
    put(0, 6)  # mono
    put(13, 4)  # 48 kHz
    put(15, 5)  # bit rate
    put(0, 14)  # no extension, no low-frequency channel
    put(7, 4)  # encoder revision
    put(0, 11)
    put(1, 4)  # two subframes
    put(0, 3)  # one channel
    put(0, 5)  # two subbands,
    put(1, 5)  # both of them quantised as scalars
    put(0, 5)  # no joint coding, no transients
    put(5, 3)  # scale factors of 6 bits
    put(6, 3)  # allocations of 5 bits
    for width in (1, 2, 2, 2, 2, 3, 3, 3, 3, 3):  # no Huffman codes
        put(2**width - 1, width)
    for values in subframes:
        put(0, 7)  # one subsubframe, no prediction
        put(11, 5)  # 8 bits for the lowest subband
        put(0, 5)  # none for the next
        put(55, 6)  # scale factor
        for value in values:
            put(int(value) & 0xFF, 8)
        put(0xFFFF, 16)  # sync
    return np.packbits([*bits, *[0] * (8 * _BYTES - len(bits))]).tobytes()
