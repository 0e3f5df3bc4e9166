"""Decoding and encoding in threads beside the restoration.

Codecs run outside of Python's lock, so they use a second core while the networks use the first. Order, results and
errors are those of a plain loop. Memory holds a few more frames.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Generic, Self, TypeVar

Item = TypeVar("Item")

QUEUE_SIZE = 3  # frames in each queue: enough to bridge a key frame, little memory at 4K


class _End:
    """The last entry of a queue, with the error that ended it, if any."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


@contextmanager
def prefetch(items: Iterable[Item], size: int = QUEUE_SIZE) -> Iterator[Iterator[Item]]:
    """Iterates over `items` in a thread, which keeps at most `size` of them ready.

    An error of the items is raised where the next item would have come. On leaving the block the thread is stopped and
    joined, so that what the items read from may be closed.
    """
    ready: queue.Queue[Item | _End] = queue.Queue(size)
    stop = threading.Event()

    def put(item: Item | _End) -> None:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.05)
            except queue.Full:
                continue
            return

    def work() -> None:
        try:
            for item in items:
                put(item)
                if stop.is_set():
                    return
            put(_End())
        except BaseException as error:  # raised again in the thread that takes the items
            put(_End(error))

    def take() -> Iterator[Item]:
        while True:
            item = ready.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item

    thread = threading.Thread(target=work, name="likeness-prefetch", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        stop.set()
        thread.join()


class BackgroundWriter(Generic[Item]):
    """Calls `write` in a thread, in order, with at most `size` items waiting.

    As a context manager it has written everything when the block ends without an error; after an error it stops.
    """

    def __init__(self, write: Callable[[Item], object], size: int = QUEUE_SIZE) -> None:
        self._waiting: queue.Queue[Item | _End] = queue.Queue(size)
        self._write = write
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="likeness-write", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()
        else:
            self.stop()

    def _work(self) -> None:
        while not isinstance(item := self._waiting.get(), _End):
            if self._error is None:  # after an error the rest is discarded
                try:
                    self._write(item)
                except BaseException as error:  # raised again by the next `put`, or by `finish`
                    self._error = error

    def put(self, item: Item) -> None:
        """Hands over the next item; waits while the queue is full; raises what an earlier `write` raised."""
        if self._error is not None:
            raise self._error
        self._waiting.put(item)

    def finish(self) -> None:
        """Waits until everything is written; raises what a `write` raised."""
        self.stop()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Waits for the items in the queue and ends the thread; raises nothing."""
        if self._thread.is_alive():
            self._waiting.put(_End())
            self._thread.join()
