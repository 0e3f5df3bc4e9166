"""Animated WebP and PNG, written frame by frame with exact delays."""

from __future__ import annotations

import io
import struct
import zlib
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import av
import numpy as np
from av.codec.context import Flags
from av.video.stream import VideoStream
from PIL import Image

from likeness.errors import OutputError
from likeness.media.gif import checked_duration
from likeness.media.images import ImageMeta
from likeness.media.metadata import add_png_chunks, png_chunk, png_chunks
from likeness.media.xmp import labelled
from likeness.types import Frame, MediaInfo

_TICK = Fraction(1, 1000)  # WebP counts milliseconds; PNG stores fractions
_FORMATS = {  # suffix: container, codec, pixel format, name of the loop option, options of the codec
    ".webp": ("webp", "libwebp_anim", "bgra", "loop", {"quality": "92", "compression_level": "4"}),
    ".png": ("apng", "apng", "rgba", "plays", {}),
}
_FORMATS[".apng"] = _FORMATS[".png"]


class AnimationWriter:
    """Writes an animated WebP (lossy, quality 92) or PNG (lossless) with alpha, delays and loop count.

    One frame is held at a time. The file is complete only when the block ends without an exception.

    Args:
        path: .webp, .png or .apng.
        info: of the source; its `loop` is written (None = once, 0 = for ever). The size is that of the first frame.
        meta: of the source; profile, EXIF, XMP and, in PNG, texts are written.
        label: whether the XMP says that a network made part of the animation.
        hidden: a still of the frames' size for viewers that do not animate; PNG only.

    Attributes:
        notes: for a person, what could not be kept.

    Raises:
        InputError: a frame of another size or depth, or one without a duration.
        OutputError: another suffix, or the file cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        info: MediaInfo,
        meta: ImageMeta | None = None,
        label: bool = False,
        hidden: Frame | None = None,
    ) -> None:
        self.path, self.info, self._meta, self._hidden = Path(path), info, meta or ImageMeta(), hidden
        xmp = self._meta.attached.xmp
        self._xmp = labelled(xmp) if label else xmp
        self.notes: list[str] = []
        if self.path.suffix.lower() not in _FORMATS:
            raise OutputError(
                f"{self.path}: animations are written as .gif, .webp or .png; choose one of these suffixes"
            )
        self._size: tuple[int, int] | None = None
        self._time, self._ticks, self._last = Fraction(0), 0, 0

    def __enter__(self) -> Self:
        container, codec, pixels, loop, options = _FORMATS[self.path.suffix.lower()]
        plays = 1 if self.info.loop is None else self.info.loop
        try:
            self._container = av.open(str(self.path), "w", format=container, options={loop: str(plays)})
            self._stream = cast(VideoStream, self._container.add_stream(codec, rate=1000, options=dict(options)))
        except (av.FFmpegError, OSError, ValueError) as error:
            raise OutputError(f"{self.path}: cannot be created ({error}); choose another output") from error
        self._stream.pix_fmt = pixels
        self._stream.codec_context.time_base = self._stream.time_base = _TICK
        self._stream.codec_context.flags |= Flags.frame_duration
        return self

    def write(self, frame: Frame) -> None:
        """Takes one frame; it needs a duration."""
        shape = frame.pixels.shape[:2]
        if self._size is None:
            self._size = shape
            self._stream.height, self._stream.width = shape
        duration = checked_duration(frame, self._size)
        alpha = np.full(shape, 255, np.uint8) if frame.alpha is None else frame.alpha
        picture = av.VideoFrame.from_ndarray(np.dstack([frame.pixels, alpha]), "rgba")
        picture = picture.reformat(format=self._stream.pix_fmt)
        start = self._ticks
        self._time += duration
        # Rounded so that errors do not add up. A frame needs at least one tick, else it shares its time with the next.
        self._last = max(1, round(self._time / _TICK) - start)
        self._ticks = start + self._last
        picture.pts, picture.time_base, picture.duration = start, _TICK, self._last
        try:
            self._container.mux(self._stream.encode(picture))
        except (av.FFmpegError, OSError) as error:
            raise OutputError(f"{self.path}: frame {frame.index} cannot be written ({error})") from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                if self._size is None:
                    raise OutputError(f"{self.path}: no frame was written, so there is no animation")
                self._container.mux(self._stream.encode(None))
        except (av.FFmpegError, OSError) as failed:
            raise OutputError(f"{self.path}: cannot be finished ({failed}); check the free space") from failed
        finally:
            self._close(kind is not None)
        if error is None:
            self._complete()

    def _close(self, failed: bool) -> None:
        try:
            self._container.close()
        except (av.FFmpegError, OSError, ValueError) as error:
            if not failed and self._size is not None:  # else the first error is raised
                raise OutputError(f"{self.path}: cannot be finished ({error}); check the free space") from error

    def _complete(self) -> None:
        """Corrects the last delay, to which FFmpeg's muxers give that of the one before, and adds the metadata."""
        meta = self._meta
        try:
            data = bytearray(self.path.read_bytes())
            if self.path.suffix.lower() == ".webp":
                set_last_webp_delay(data, self._last)
                complete = add_webp_chunks(bytes(data), meta.icc, meta.exif, self._xmp)
            else:
                set_last_png_delay(data, self._last)
                complete = bytes(data) if self._hidden is None else with_hidden_image(bytes(data), self._hidden)
                texts = meta.attached.texts
                complete = add_png_chunks(complete, meta.icc, meta.exif, meta.dpi, self._xmp, texts=texts)
            self.path.write_bytes(complete)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be finished ({error.strerror}); check the free space") from error


def add_webp_chunks(webp: bytes, icc: bytes | None, exif: bytes | None, xmp: bytes | None) -> bytes:
    """Puts metadata into an extended WebP that has none (WebP container specification, "Extended File Format")."""
    header, frames = bytearray(webp[:30]), webp[30:]  # RIFF, VP8X
    exif = exif and exif.removeprefix(b"Exif\x00\x00")
    for flag, given in ((0x20, icc), (0x08, exif), (0x04, xmp)):
        header[20] |= flag if given else 0
    body = (
        bytes(header[8:]) + _riff_chunk(b"ICCP", icc) + frames + _riff_chunk(b"EXIF", exif) + _riff_chunk(b"XMP ", xmp)
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _riff_chunk(name: bytes, data: bytes | None) -> bytes:
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) if data else b""


def with_hidden_image(apng: bytes, image: Frame) -> bytes:
    """Makes `image` the still of an animated PNG whose still is its first frame (APNG specification).

    Args:
        apng: 8 bits a channel with alpha.
        image: of the same size.
    """
    alpha = np.full(image.pixels.shape[:2], 255, np.uint8) if image.alpha is None else image.alpha
    still = io.BytesIO()
    Image.fromarray(np.dstack([image.pixels, alpha])).save(still, "PNG")
    out, number = apng[:8], 0
    for name, data in png_chunks(apng):
        if name == b"fcTL":
            if number == 0:
                out += b"".join(
                    png_chunk(b"IDAT", part) for kind, part in png_chunks(still.getvalue()) if kind == b"IDAT"
                )
            data = struct.pack(">I", number) + data[4:]
        elif name in (b"IDAT", b"fdAT"):
            name, data = b"fdAT", struct.pack(">I", number) + data[4 * (name == b"fdAT") :]
        number += name in (b"fcTL", b"fdAT")
        out += png_chunk(name, data)
    return out


def set_last_webp_delay(data: bytearray, milliseconds: int) -> None:
    """Sets the duration in the last `ANMF` chunk (WebP container specification), in place."""
    at, last = 12, None
    while at + 8 <= len(data):
        (size,) = struct.unpack_from("<I", data, at + 4)
        if data[at : at + 4] == b"ANMF":
            last = at + 8
        at += 8 + size + size % 2
    if last is not None:
        data[last + 12 : last + 15] = min(milliseconds, (1 << 24) - 1).to_bytes(3, "little")


def set_last_png_delay(data: bytearray, milliseconds: int) -> None:
    """Sets the delay in the last `fcTL` chunk (APNG specification), in place."""
    at, last = 8, None
    while at + 8 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        if data[at + 4 : at + 8] == b"fcTL":
            last = at
        at += 12 + size
    if last is not None:
        delay = Fraction(milliseconds, 1000).limit_denominator(65535)
        struct.pack_into(">HH", data, last + 28, min(delay.numerator, 65535), delay.denominator)
        struct.pack_into(">I", data, last + 34, zlib.crc32(data[last + 4 : last + 34]))
