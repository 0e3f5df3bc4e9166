"""Prefetching and writing in the background give the results and errors of a plain loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from likeness.media.prefetch import BackgroundWriter, prefetch


def running_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("likeness-")]


def test_prefetched_items_come_in_order_from_another_thread() -> None:
    seen = set()

    def items() -> Iterator[int]:
        for i in range(50):
            seen.add(threading.get_ident())
            yield i

    with prefetch(items(), 2) as taken:
        assert list(taken) == list(range(50))
    assert threading.get_ident() not in seen
    assert running_threads() == []


def test_only_a_few_items_are_prefetched() -> None:
    read = []

    def items() -> Iterator[int]:
        for i in range(100):
            read.append(i)
            yield i

    with prefetch(items(), 3) as taken:
        assert next(taken) == 0
        time.sleep(0.3)
        assert len(read) <= 6  # the one taken, three waiting, one in hand
    assert len(read) <= 6  # leaving early stops it
    assert running_threads() == []


def test_an_error_while_prefetching_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2)
        raise OSError("truncated")

    got = []
    with pytest.raises(OSError, match="truncated"), prefetch(items()) as taken:
        got.extend(iter(lambda: next(taken), None))
    assert got == [1, 2]
    assert running_threads() == []


def test_everything_is_written_in_order_when_the_block_ends() -> None:
    written: list[int] = []

    def write(i: int) -> None:
        time.sleep(0.001)
        written.append(i)

    with BackgroundWriter(write, 2) as worker:
        for i in range(40):
            worker.put(i)
    assert written == list(range(40))
    assert running_threads() == []


def test_after_an_error_of_write_nothing_more_is_written() -> None:
    written = []

    def write(i: int) -> None:
        if i == 3:
            raise OSError("disk full")
        written.append(i)

    with pytest.raises(OSError, match="disk full"), BackgroundWriter(write, 1) as worker:
        [worker.put(i) for i in range(1000)]
    assert written == [0, 1, 2]
    with pytest.raises(OSError, match="disk full"), BackgroundWriter(write) as worker:
        worker.put(3)  # the last item: no further `put` could raise it
    assert running_threads() == []


def test_an_error_in_the_block_stops_the_writer() -> None:
    def fail() -> None:
        with BackgroundWriter(lambda i: None) as worker:
            worker.put(1)
            raise ValueError("in the block")

    with pytest.raises(ValueError, match="in the block"):
        fail()
    assert running_threads() == []
