"""Reading ahead and writing behind give what doing it in turn gives, errors included."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from likeness.media.overlap import ahead, behind


def alive() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("likeness-")]


def test_all_items_come_in_order_from_another_thread() -> None:
    seen = set()

    def items() -> Iterator[int]:
        for i in range(50):
            seen.add(threading.get_ident())
            yield i

    with ahead(items(), 2) as taken:
        assert list(taken) == list(range(50))
    assert threading.get_ident() not in seen
    assert alive() == []


def test_it_reads_only_a_little_ahead() -> None:
    read = []

    def items() -> Iterator[int]:
        for i in range(100):
            read.append(i)
            yield i

    with ahead(items(), 3) as taken:
        assert next(taken) == 0
        time.sleep(0.3)
        assert len(read) <= 6  # the one taken, three waiting, one in hand
    assert len(read) <= 6  # leaving early stops it
    assert alive() == []


def test_an_error_of_the_items_comes_after_those_before_it() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2)
        raise OSError("truncated")

    got = []
    with pytest.raises(OSError, match="truncated"), ahead(items()) as taken:
        got.extend(iter(lambda: next(taken), None))
    assert got == [1, 2]
    assert alive() == []


def test_everything_is_written_in_order_when_the_block_ends() -> None:
    written: list[int] = []

    def write(i: int) -> None:
        time.sleep(0.001)
        written.append(i)

    with behind(write, 2) as worker:
        for i in range(40):
            worker.put(i)
    assert written == list(range(40))
    assert alive() == []


def test_an_error_of_writing_is_raised_and_nothing_more_is_written() -> None:
    written = []

    def write(i: int) -> None:
        if i == 3:
            raise OSError("disk full")
        written.append(i)

    with pytest.raises(OSError, match="disk full"), behind(write, 1) as worker:
        [worker.put(i) for i in range(1000)]
    assert written == [0, 1, 2]
    with pytest.raises(OSError, match="disk full"), behind(write) as worker:
        worker.put(3)  # the last one: nobody puts another after it
    assert alive() == []


def test_an_error_of_the_work_stops_the_writer() -> None:
    def work() -> None:
        with behind(lambda i: None) as worker:
            worker.put(1)
            raise ValueError("work")

    with pytest.raises(ValueError, match="work"):
        work()
    assert alive() == []
