"""GIFs, animated WebP and PNG: read as composed frames with exact delays; GIFs are written here, the others in
animation.py."""

from __future__ import annotations

import struct
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from likeness.errors import InputError, OutputError
from likeness.media.decoding import decoding
from likeness.media.files import NothingToClose, require_file
from likeness.media.gif_blocks import KEEP, RESTORE, Indices, changes, comment_block, header, write_frame
from likeness.media.gif_palette import PaletteBuilder, PaletteMapper
from likeness.media.images import ImageMeta, meta_of
from likeness.media.xmp import label_comment
from likeness.types import Frame, MediaInfo, Pixels, TimeRange

_TICK = Fraction(1, 100)  # GIF counts delays in hundredths of a second, in 16 bits
_MAX_TICKS = 65535
_MAX_EDGE = 65535
_OPAQUE = 128  # GIF's alpha is on or off; from here on a pixel is on


class GifReader(NothingToClose):
    """The composed frames of an animation, in order; may be iterated more than once.

    A `Frame` is the whole canvas after disposal, HWC uint8 RGB. Its `duration` is the stored delay (which may be 0,
    though browsers show such frames for 0.1 s), its `time` the sum of the delays before it. It has `alpha` where a
    pixel is transparent. One frame is held at a time.

    Args:
        path: the file.
        time_range: reads only these frames, with their times in the whole animation.

    Attributes:
        notes: for a person.
        meta: what the file carries beside its frames.
        has_hidden_image: see `hidden_image`.

    Raises:
        InputError: missing, damaged, too large, or no picture.
    """

    def __init__(self, path: str | Path, time_range: TimeRange | None = None) -> None:
        self.path, self.time_range = Path(path), time_range
        self.notes: list[str] = []
        require_file(self.path)
        with _opened(self.path) as image:
            stored = [_delay(image, index) for index in _indices(image)]
            times = [Fraction(0), *accumulate(stored)]
            delays = [delay for delay, time in zip(stored, times, strict=False) if _within(time, time_range)]
            width, height = image.size
            image.seek(0)
            self.meta, lost = meta_of(image)
            self.notes += lost
            format = (image.format or "").lower()
            self.has_hidden_image = bool(image.info.get("default_image"))
            total = sum(delays, Fraction(0))
            self._info = MediaInfo(
                "gif",
                width,
                height,
                frames=len(delays),
                fps=len(delays) / total if total else None,
                duration=total,
                format=format,
                loop=0 if format == "avif" else image.info.get("loop"),  # Pillow does not tell AVIF's
            )

    @property
    def info(self) -> MediaInfo:
        """Size, number of frames, total length and loop count."""
        return self._info

    def hidden_image(self) -> Frame | None:
        """The still that an animated PNG may hold for viewers that do not animate; it is no frame."""
        if not self.has_hidden_image:
            return None
        with _opened(self.path) as image:
            image.seek(0)
            pixels, alpha = _composed(image)
            return Frame(pixels, alpha=alpha)

    def __iter__(self) -> Iterator[Frame]:
        time, number = Fraction(0), 0
        with _opened(self.path) as image:
            for index in _indices(image):
                duration = _delay(image, index)
                if _within(time, self.time_range):
                    pixels, alpha = _composed(image)
                    yield Frame(pixels, number, time, duration, alpha)
                    number += 1
                time += duration


def _composed(image: Image.Image) -> tuple[Pixels, Pixels | None]:
    rgba = np.asarray(image.convert("RGBA"))
    alpha = None if (rgba[..., 3] == 255).all() else np.ascontiguousarray(rgba[..., 3])
    return np.ascontiguousarray(rgba[..., :3]), alpha


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    with decoding(path), Image.open(path) as image:
        yield image


def _indices(image: Image.Image) -> range:
    # The hidden image is not part of the animation.
    return range(1 if image.info.get("default_image") else 0, getattr(image, "n_frames", 1))


def _within(time: Fraction, time_range: TimeRange | None) -> bool:
    return time_range is None or (time_range.start <= time and (time_range.end is None or time < time_range.end))


def _delay(image: Image.Image, index: int) -> Fraction:
    image.seek(index)
    image.load()  # WebP knows the delay only now
    return Fraction(image.info.get("duration", 0)).limit_denominator(1000) / 1000


def checked_duration(frame: Frame, size: tuple[int, int]) -> Fraction:
    """The duration of a frame that can be written to an animation of `size` (height, width).

    Raises:
        InputError: for another size or depth, or a frame without a duration.
    """
    shape = frame.pixels.shape[:2]
    if shape != size or frame.pixels.dtype != np.uint8:
        raise InputError(
            f"frame {frame.index}: got {shape} {frame.pixels.dtype}, expected {size} uint8 like the first; "
            "give all frames one size"
        )
    if frame.duration is None:
        raise InputError(f"frame {frame.index}: has no duration, which an animation needs; keep the reader's")
    return frame.duration


class GifWriter:
    """Writes a GIF with one palette for all frames, the delays and the loop count as they were.

    Frames wait, compressed, in a temporary file until the block ends, since the palette is built from all of them;
    memory holds two frames and 50 MB of tables. Up to 255 colours are exact (256 where nothing is transparent). Where
    nothing is transparent, only the pixels that changed are stored. The file is written when the block ends without an
    exception.

    Args:
        path: where the GIF goes.
        info: of the source; its `loop` is written (None = play once). The size is that of the first frame.
        meta: of the source; its comment is written.
        label: whether the comment says that a network made part of the GIF.

    Attributes:
        notes: for a person, what a GIF cannot keep.

    Raises:
        InputError: a frame of another size or depth, or one without a duration.
        OutputError: a suffix other than .gif, or the file cannot be written.
    """

    def __init__(self, path: str | Path, info: MediaInfo, meta: ImageMeta | None = None, label: bool = False) -> None:
        self.path, self.info = Path(path), info
        attached = meta.attached if meta else None
        comment = attached.comment if attached else None
        self._comment = label_comment(comment) if label else comment
        self.notes: list[str] = ["XMP was left out: it is not written to GIFs"] if attached and attached.xmp else []
        if self.path.suffix.lower() != ".gif":
            raise OutputError(f"{self.path}: animations are written as GIF; give the output the suffix .gif")
        self._palette = PaletteBuilder()
        self._size: tuple[int, int] | None = None
        self._ticks: list[int] = []
        self._time = Fraction(0)
        self._written = 0  # ticks so far
        self._transparent = False
        self._soft = self._inexact = False

    def __enter__(self) -> Self:
        self._spool = tempfile.TemporaryFile()  # closed in __exit__
        return self

    def write(self, frame: Frame) -> None:
        """Takes one frame; it needs a duration."""
        shape = frame.pixels.shape[:2]
        if max(shape) > _MAX_EDGE:
            raise OutputError(f"{self.path}: got {shape[1]}x{shape[0]}, a GIF holds {_MAX_EDGE} at most; scale it down")
        self._size = self._size or shape
        duration = checked_duration(frame, self._size)
        opaque = np.ones(shape, np.bool_) if frame.alpha is None else frame.alpha >= _OPAQUE
        self._transparent |= not opaque.all()
        self._soft |= frame.alpha is not None and bool(((frame.alpha > 0) & (frame.alpha < 255)).any())
        self._ticks.append(self._next_ticks(duration))
        self._palette.add(frame.pixels[opaque])
        packed = zlib.compress(np.dstack([frame.pixels, opaque.astype(np.uint8)]).tobytes(), 1)
        try:
            self._spool.write(struct.pack("<Q", len(packed)) + packed)
        except OSError as error:
            raise OutputError(f"{self.path}: no room for temporary data ({error.strerror}); free some") from error

    def _next_ticks(self, duration: Fraction) -> int:
        """The delay in ticks, rounded so that errors do not add up."""
        self._time += duration
        ticks = min(max(round(self._time / _TICK) - self._written, 0), _MAX_TICKS)
        self._inexact |= ticks * _TICK != duration
        self._written += ticks
        return ticks

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._spool:
            if error is None:
                self._finish()

    def _finish(self) -> None:
        if self._size is None:
            raise OutputError(f"{self.path}: no frame was written, so there is no GIF")
        if self._soft:
            self.notes.append("half-transparent pixels became opaque or transparent: a GIF has nothing between")
        if self._inexact:
            self.notes.append("delays were rounded to hundredths of a second, the step of a GIF")
        palette = self._palette.build(255 if self._transparent else 256)
        mapper = PaletteMapper(palette)
        # The free index, where there is one: transparent pixels, or those that stay as they were.
        clear = len(palette) if len(palette) < 256 else None
        try:
            with self.path.open("wb") as file:
                file.write(header(self._size, palette, self.info.loop))
                file.write(comment_block(self._comment))
                previous: Indices | None = None
                for ticks, (pixels, opaque) in zip(self._ticks, self._spooled(self._size), strict=True):
                    indices = mapper(pixels)
                    if self._transparent:
                        indices = np.where(opaque, indices, np.uint8(len(palette)))
                        write_frame(file, indices, (0, 0), ticks, RESTORE, clear)
                    else:
                        changed, offset = changes(indices, previous, clear)
                        write_frame(file, changed, offset, ticks, KEEP, clear)
                    previous = indices
                file.write(b";")
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written ({error.strerror}); check folder and space") from error

    def _spooled(self, size: tuple[int, int]) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]]:
        self._spool.seek(0)
        while length := self._spool.read(8):
            raw = zlib.decompress(self._spool.read(struct.unpack("<Q", length)[0]))
            frame = np.frombuffer(raw, np.uint8).reshape(*size, 4)
            yield frame[..., :3], frame[..., 3] > 0
