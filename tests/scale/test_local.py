"""The pool: a worker that dies, hangs or runs out of memory fails its own task, and the next ones run."""

from __future__ import annotations

import os
import signal
import sys
import time
from concurrent.futures import CancelledError

import pytest

from likeness.errors import InputError, WeightsError, WorkerError
from likeness.scale.local import Pool
from tests.scale.runners import broken, start


@pytest.fixture(scope="module")
def pool():
    """One for all tests, since every worker that starts takes seconds; a worker that a test kills is replaced."""
    with Pool(start, 1, seconds=2, memory_mb=3000) as pool:
        yield pool


def test_tasks_run_in_other_processes_and_tell_their_progress(pool):
    told = []
    results = [pool.submit("a", lambda *steps: told.append(steps)), pool.submit("b")]
    pids = {int(r.future.result(30).split()[-1]) for r in results}
    assert pids == set(pool.pids)
    assert pool.ready == 1
    assert os.getpid() not in pids
    assert told == [(1, 2, 0)]


@pytest.mark.parametrize(
    ("task", "error", "message"),
    [
        ("die", WorkerError, "exit code 3"),
        ("bad", InputError, "a bad file"),
        ("strange", WorkerError, "KeyError"),
        ("hang", WorkerError, "more than 2 seconds"),
        pytest.param(
            "fill 4000", WorkerError, "memory", marks=pytest.mark.skipif(sys.platform != "linux", reason="rlimit")
        ),
    ],
)
def test_a_task_fails_alone(pool, task, error, message):
    before = pool.replaced
    bad, good = pool.submit(task), pool.submit("good")
    with pytest.raises(error, match=message):
        bad.future.result(30)
    assert good.future.result(30).startswith("good by ")
    assert pool.replaced - before == (task in ("die", "hang"))


@pytest.mark.parametrize("busy", [True, False])
def test_a_killed_worker_is_replaced(pool, busy):
    (pid,) = [int(pool.submit("a").future.result(30).split()[-1])]
    ticket = pool.submit("hang") if busy else None
    if ticket:
        while not ticket.future.running():
            time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    if ticket:
        with pytest.raises(WorkerError, match="signal 9"):
            ticket.future.result(30)
    time.sleep(0.2)
    assert int(pool.submit("b").future.result(30).split()[-1]) != pid


def test_waiting_and_running_tasks_can_be_cancelled(pool):
    running, waiting, last = (pool.submit(t) for t in ("hang", "a", "b"))
    while not running.future.running():
        time.sleep(0.01)
    waiting.cancel()
    running.cancel()
    for ticket in (running, waiting):
        with pytest.raises(CancelledError):
            ticket.future.result(30)
    assert last.future.result(30).startswith("b by ")


def test_closing_ends_everything():
    pool = Pool(start, 1)
    running, waiting = pool.submit("hang"), pool.submit("a")
    while not running.future.running():
        time.sleep(0.01)
    begun = time.monotonic()
    pool.close()
    assert time.monotonic() - begun < 10
    assert all(isinstance(t.future.exception(1) if not t.future.cancelled() else CancelledError(), CancelledError)
               for t in (running, waiting))  # fmt: skip


def test_workers_that_cannot_start_say_why():
    with Pool(broken, 1) as pool, pytest.raises(WeightsError, match="no such file"):
        pool.submit("a").future.result(30)
    with pytest.raises(WorkerError, match="expected 1 or more"):
        Pool(start, 0)
