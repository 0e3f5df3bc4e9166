"""Reads videos as upright RGB frames with exact times."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np

from likeness.errors import InputError
from likeness.log import get_logger
from likeness.media.video_deinterlace import deinterlaced
from likeness.media.video_source import (
    INTERLACED,
    VideoSource,
    apply_matrix,
    decoder_of,
    open_video,
    picture_stream,
    probe,
)
from likeness.types import Frame, MediaInfo, Pixels, TimeRange

_log = get_logger(__name__)


class VideoReader:
    """The upright frames of a video in order of presentation; may be iterated more than once.

    A `Frame` is HWC RGB, uint8 or, for sources with 10 bits, uint16. Its `time` is the exact time stamp x clock, its
    `duration` the time to the next frame (of the last one what the stream says, or None). Interlaced pictures are
    deinterlaced.
    Memory does not grow with the length.

    Attributes:
        source: everything known of the file.
        notes: for a person, filled while iterating: damaged packets, missing or unordered time stamps.

    Args:
        path: the file.
        time_range: reads only these frames, with their times in the whole video.

    Raises:
        InputError: the file is missing, damaged or no video (at once), or breaks off (while iterating).
    """

    def __init__(self, path: str | Path, time_range: TimeRange | None = None) -> None:
        self.source: VideoSource = probe(path, time_range)
        self.notes: list[str] = list(self.source.notes)
        self._running: list[Generator[Frame]] = []

    @property
    def info(self) -> MediaInfo:
        """Size, rate, length and codecs."""
        return self.source.info

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for frames in self._running:
            frames.close()
        self._running.clear()

    def __iter__(self) -> Iterator[Frame]:
        frames = self._frames()
        self._running.append(frames)
        return frames

    def _frames(self) -> Generator[Frame]:
        index = 0
        pending: tuple[av.VideoFrame, Fraction] | None = None
        first, end = self._bounds()
        with closing(self._decoded_from(first)) as pictures:
            for picture, time in pictures:
                if time < first:
                    continue
                if end is not None and time >= end:
                    if pending is not None:
                        yield self._frame(*pending, index, time - pending[1])
                    return
                if pending is not None:
                    # The next frame tells how long this one is shown: the durations that containers store follow the
                    # order of decoding.
                    yield self._frame(*pending, index, time - pending[1])
                    index += 1
                pending = picture, time
        if pending is not None:
            picture = pending[0]
            tick = picture.time_base or self.source.time_base
            yield self._frame(*pending, index, picture.duration * tick if picture.duration else None)
            index += 1
        if self.info.frames is not None and index < self.info.frames:
            missing = self.info.frames - index
            self._note(missing, "of the promised frames are missing: the file breaks off or is damaged")

    def _bounds(self) -> tuple[Fraction, Fraction | None]:
        """The time of the first frame to read, and the time at which to stop."""
        time_range, begin = self.source.time_range, self.source.begin
        if time_range is None:
            return min(begin, Fraction(0)) - 1, None  # streams may begin below 0
        return begin + time_range.start, None if time_range.end is None else begin + time_range.end

    def _decoded_from(self, first: Fraction) -> Generator[tuple[av.VideoFrame, Fraction]]:
        """Decoded pictures with their growing times, from a key frame at or before `first`."""
        if self.source.time_range is not None and self.source.time_range.start > 0:
            with closing(self._progressive(first)) as pictures:
                opening = next(pictures, None)
                if opening is not None and opening[1] <= first:
                    yield opening
                    yield from pictures
                    return
        # Not every container can seek: then everything before is decoded and dropped.
        yield from self._progressive(None)

    def _progressive(self, seek: Fraction | None) -> Generator[tuple[av.VideoFrame, Fraction]]:
        with closing(self._decoded(seek)) as pictures:
            yield from deinterlaced(pictures, lambda: self._tell(INTERLACED))

    def _decoded(self, seek: Fraction | None) -> Generator[tuple[av.VideoFrame, Fraction]]:
        source, tick = self.source, self.source.time_base
        last: Fraction | None = None
        damaged = guessed = 0
        with open_video(source.path) as container:
            stream = picture_stream(container, source.path)
            decode = decoder_of(stream)
            if seek is not None:
                try:
                    container.seek(int(seek / tick), stream=stream)
                except av.FFmpegError:
                    return
            for packet in container.demux(stream):
                try:
                    decoded = decode(packet)
                except av.FFmpegError:
                    damaged += 1
                    continue
                for picture in decoded:
                    stamp = picture.pts if picture.pts is not None else picture.dts
                    time = None if stamp is None else stamp * (picture.time_base or tick)
                    if time is None or (last is not None and time <= last):
                        guessed += 1
                        step = max(1, round(1 / (source.rate * tick))) if time is None else 1
                        time = Fraction(0) if last is None else last + step * tick
                    last = time
                    yield picture, time
        self._note(damaged, "damaged packets were skipped")
        self._note(guessed, "frames had missing or out-of-order time stamps; each got the next free one")

    def _frame(self, picture: av.VideoFrame, time: Fraction, index: int, duration: Fraction | None) -> Frame:
        source = self.source
        pixels = apply_matrix(source.colour.to_rgb(picture, source.deep, source.alpha), source.matrix)
        self._check_size(pixels, index)
        if not source.alpha:
            return Frame(pixels, index, time, duration)
        colours, alpha = (np.ascontiguousarray(part) for part in (pixels[..., :3], pixels[..., 3]))
        return Frame(colours, index, time, duration, alpha)

    def _check_size(self, pixels: Pixels, index: int) -> None:
        if pixels.shape[:2] != (self.info.height, self.info.width):
            raise InputError(
                f"{self.source.path}: frame {index} is {pixels.shape[1]}x{pixels.shape[0]}, the first was "
                f"{self.info.width}x{self.info.height}; convert the video to one size"
            )

    def _note(self, count: int, what: str) -> None:
        if count:
            self._tell(f"{count} {what}")

    def _tell(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)
            _log.warning("%s: %s", self.source.path, note)
