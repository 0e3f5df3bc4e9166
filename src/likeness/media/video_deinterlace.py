"""Interlaced pictures become progressive ones, by FFmpeg's bwdif."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from fractions import Fraction

import av
from av.filter import Graph

Timed = tuple[av.VideoFrame, Fraction]


def deinterlaced(pictures: Iterable[Timed], on_first: Callable[[], None]) -> Generator[Timed]:
    """The same pictures with their times, of which those that are flagged as interlaced are deinterlaced.

    A picture keeps its first field; the lines of its second field are interpolated over time and space (bwdif, a
    weighted mix of w3fdif and yadif). Progressive pictures are passed on untouched.

    Args:
        pictures: decoded, in order.
        on_first: called when the first interlaced picture is met.
    """
    running: _Bwdif | None = None
    for picture, time in pictures:
        shape = picture.width, picture.height, picture.format.name
        if running is not None and running.shape != shape:
            yield from running.finish()
            running = None
        if running is None and picture.interlaced_frame:
            on_first()
            running = _Bwdif(picture)
        if running is None:
            yield picture, time
        else:
            yield from running.push(picture, time)
    if running is not None:
        yield from running.finish()


class _Bwdif:
    """The filter for pictures of one shape; it gives as many as it takes, one picture late."""

    def __init__(self, first: av.VideoFrame) -> None:
        self.shape = first.width, first.height, first.format.name
        self._graph = Graph()
        self._graph.threads = 1
        source = self._graph.add_buffer(
            width=first.width,
            height=first.height,
            format=first.format,
            time_base=first.time_base or Fraction(1, 90000),
        )
        # The order of the fields stands in each picture.
        bwdif = self._graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
        self._graph.link_nodes(source, bwdif, self._graph.add("buffersink")).configure()
        self._waiting: deque[tuple[av.VideoFrame, Fraction]] = deque()

    def push(self, picture: av.VideoFrame, time: Fraction) -> Generator[Timed]:
        self._waiting.append((picture, time))
        self._graph.vpush(picture)
        yield from self._ready()

    def finish(self) -> Generator[Timed]:
        self._graph.vpush(None)
        yield from self._ready()

    def _ready(self) -> Generator[Timed]:
        while self._waiting:
            try:
                progressive = self._graph.vpull()
            except (av.BlockingIOError, av.EOFError):  # it waits for the next picture, or all are given
                return
            source, time = self._waiting.popleft()
            # The filter's clock has half ticks.
            progressive.pts, progressive.time_base = source.pts, source.time_base
            progressive.duration = source.duration
            yield progressive, time
