"""Reading and writing beside the work: one thread decodes ahead, one encodes behind, each by a few frames.

Codecs run outside of Python's lock, so a second core is used while the networks have the first. Order, results and
errors are those of doing it in turn; memory holds a few frames more.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Item = TypeVar("Item")

AHEAD = 3  # frames in each queue: enough to bridge a key frame, little memory at 4K


class _End:
    """The last thing in a queue, with the error that ended it, if any."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


@contextmanager
def ahead(items: Iterable[Item], size: int = AHEAD) -> Iterator[Iterator[Item]]:
    """Goes through `items` in a thread of its own, at most `size` ahead of whoever takes them.

    An error of the items is raised where the next one would have been. On leaving, the thread is stopped and waited
    for, so that what the items read from may be closed.
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
        except BaseException as error:  # raised again by whoever takes the items
            put(_End(error))

    def take() -> Iterator[Item]:
        while True:
            item = ready.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item

    thread = threading.Thread(target=work, name="likeness-ahead", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        stop.set()
        thread.join()


class Behind(Generic[Item]):
    """Calls `write` in a thread of its own, in order, at most `size` behind; see `behind`."""

    def __init__(self, write: Callable[[Item], object], size: int = AHEAD) -> None:
        self._waiting: queue.Queue[Item | _End] = queue.Queue(size)
        self._write = write
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="likeness-behind", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while not isinstance(item := self._waiting.get(), _End):
            if self._error is None:  # after one, the rest is thrown away
                try:
                    self._write(item)
                except BaseException as error:  # raised again by the next `put`, or at the end
                    self._error = error

    def put(self, item: Item) -> None:
        """Hands over the next item; waits while the queue is full; raises what an earlier `write` raised."""
        if self._error is not None:
            raise self._error
        self._waiting.put(item)

    def finish(self) -> None:
        """Waits until all is written; raises what a `write` raised."""
        self.stop()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Waits for what is under way, and ends the thread."""
        if self._thread.is_alive():
            self._waiting.put(_End())
            self._thread.join()


@contextmanager
def behind(write: Callable[[Item], object], size: int = AHEAD) -> Iterator[Behind[Item]]:
    """A `Behind` that has written everything when the block ends without an error, and stops when it ends with one."""
    worker = Behind(write, size)
    try:
        yield worker
        worker.finish()
    finally:
        worker.stop()
