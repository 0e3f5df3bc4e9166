"""A pool of worker processes on this machine, each with its networks loaded once.

A worker that dies or exceeds its time fails the job it had, and another takes its place. One pipe a worker, so that a
killed one cannot leave a lock held.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from multiprocessing.connection import Connection, wait
from threading import Event, Thread
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import torch

from likeness.errors import LikenessError, WorkerError
from likeness.log import get_logger

Task = TypeVar("Task")
Result = TypeVar("Result")
Progress = Callable[[int, int | None, int], None]  # steps done, all of them where known, things found so far
Work = Callable[[Task, Progress], Result]

POLL = 0.05  # seconds between looks at the clock and at cancellation
_LOG = get_logger(__name__)


class Ticket(Generic[Task, Result]):
    """A task that was handed to a pool.

    Attributes:
        future: of the result; raises what the task raised, WorkerError, or CancelledError.
    """

    def __init__(self, task: Task, progress: Progress, started: Callable[[], None]) -> None:
        self.task, self.progress, self.started = task, progress, started
        self.future: Future[Result] = Future()
        self._cancelled = Event()

    def cancel(self) -> None:
        """Takes the task out of the queue, or kills the worker that runs it."""
        self._cancelled.set()
        self.future.cancel()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled.is_set()


class Pool(Generic[Task, Result]):
    """Runs tasks in worker processes, first come first served.

    Args:
        start: called once in every worker (so it must pickle); returns the function that runs a task.
        workers: number of processes.
        seconds: a task that takes longer is ended.
        memory_mb: limit of a worker's private memory; enforced on Linux only. None: no limit.

    Raises:
        WorkerError: for less than one worker.
    """

    def __init__(
        self,
        start: Callable[[], Work[Task, Result]],
        workers: int,
        seconds: float | None = None,
        memory_mb: int | None = None,
    ) -> None:
        if workers < 1:
            raise WorkerError(f"workers: got {workers}, expected 1 or more")
        self.start, self.workers, self.seconds, self.memory_mb = start, workers, seconds, memory_mb
        self._queue: queue.Queue[Ticket[Task, Result] | None] = queue.Queue()
        self._closed = Event()
        self._slots = [_Slot(self) for _ in range(workers)]
        for slot in self._slots:
            slot.start()

    def submit(
        self,
        task: Task,
        progress: Progress = lambda done, total, found: None,
        started: Callable[[], None] = lambda: None,
    ) -> Ticket[Task, Result]:
        """Queues a task.

        Args:
            task: anything that pickles.
            progress: called in a thread of this process with what the worker tells.
            started: called in that thread when a worker takes the task.
        """
        ticket: Ticket[Task, Result] = Ticket(task, progress, started)
        self._queue.put(ticket)
        return ticket

    @property
    def ready(self) -> int:
        """Workers whose networks are loaded."""
        return sum(slot.loaded.is_set() for slot in self._slots)

    @property
    def replaced(self) -> int:
        """Workers that were replaced so far."""
        return sum(slot.starts - 1 for slot in self._slots if slot.starts)

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers."""
        return [pid for slot in self._slots if (pid := slot.process.pid if slot.process else None)]

    def close(self) -> None:
        """Ends all workers at once, and cancels what is left."""
        self._closed.set()
        for _ in self._slots:
            self._queue.put(None)
        for slot in self._slots:
            slot.join()
        for ticket in self._left():
            ticket.cancel()

    def _left(self) -> Iterator[Ticket[Task, Result]]:
        while True:
            try:
                ticket = self._queue.get_nowait()
            except queue.Empty:
                return
            if ticket is not None:
                yield ticket

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Slot(Thread):
    """Looks after one worker: starts it, hands it tasks, and replaces it."""

    def __init__(self, pool: Pool[Any, Any]) -> None:
        super().__init__(daemon=True, name="likeness-worker")
        self.pool = pool
        self.process: multiprocessing.process.BaseProcess | None = None
        self.loaded = Event()
        self.starts = 0
        self._connection: Connection

    def run(self) -> None:
        """Until the pool is closed."""
        broken = self._replace()
        while not self.pool._closed.is_set():
            ticket = self.pool._queue.get()
            if ticket is None:
                break
            if not ticket.future.set_running_or_notify_cancel():
                continue
            if broken or self.process is None or not self.process.is_alive():
                broken = self._replace()
            if broken:
                ticket.future.set_exception(broken)
                continue
            try:
                ticket.started()
                result = self._do(ticket)
            except BaseException as error:  # handed to whoever waits for the result
                ticket.future.set_exception(error)
            else:
                ticket.future.set_result(result)
            if not self.loaded.is_set() and not self.pool._closed.is_set():
                broken = self._replace()
        self._kill()

    def _do(self, ticket: Ticket[Any, Any]) -> Any:
        limit = self.pool.seconds
        end = None if limit is None else time.monotonic() + limit
        try:
            self._connection.send(ticket.task)
            for kind, value in self._messages(ticket, end):
                if kind == "progress":
                    ticket.progress(*value)
                elif kind == "failed":
                    raise value
                else:
                    return value
        except (EOFError, OSError) as error:
            self._kill()
            code = self.process.exitcode if self.process else None
            raise WorkerError(
                f"the worker process died ({_died(code)}), probably out of memory or in a decoder; "
                "try a smaller or another file"
            ) from error
        raise CancelledError

    def _messages(self, ticket: Ticket[Any, Any], end: float | None) -> Iterator[tuple[str, Any]]:
        """What the worker says; ends when the task is cancelled or the pool is closed."""
        while not ticket.cancelled and not self.pool._closed.is_set():
            if end is not None and time.monotonic() > end:
                self._kill()
                raise WorkerError(
                    f"took more than {self.pool.seconds:.0f} seconds, the limit; try a shorter or smaller file"
                )
            if self._connection.poll(POLL):
                yield self._connection.recv()
        self._kill()

    def _replace(self) -> LikenessError | None:
        """Starts a worker and waits for its networks; returns why that failed, if it did."""
        self._kill()
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        arguments = (other, self.pool.start, self.pool.memory_mb, self.pool.workers)
        self.process = context.Process(target=_work, args=arguments, daemon=True, name="likeness-worker")
        self.process.start()
        other.close()
        self.starts += 1
        try:
            while not self._connection.poll(POLL):
                if self.pool._closed.is_set():
                    return WorkerError("the pool is closed")
            kind, value = self._connection.recv()
        except (EOFError, OSError):
            self._kill()
            return WorkerError(f"a worker process died while it loaded ({_died(self.process.exitcode)}); see the log")
        if kind == "failed":
            self._kill()
            _LOG.error("a worker cannot start: %s", value)
            return value if isinstance(value, LikenessError) else WorkerError(str(value))
        self.loaded.set()
        return None

    def _kill(self) -> None:
        self.loaded.clear()
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self._connection.close()


def _died(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


def _work(connection: Connection, start: Callable[[], Work[Any, Any]], memory_mb: int | None, workers: int) -> None:
    """The worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends its workers
    Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(max(1, min(torch.get_num_threads(), (os.cpu_count() or 1) // workers)))
    limit_memory(memory_mb)
    try:
        work = start()
    except Exception as error:  # any reason why the networks do not load goes to the parent
        connection.send(("failed", _plain(error)))
        return
    connection.send(("loaded", None))
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        try:
            result = work(task, lambda *steps: connection.send(("progress", steps)))
        except Exception as error:  # the last net: whatever a decoder throws fails this task alone
            connection.send(("failed", _plain(error)))
        else:
            connection.send(("done", result))


def _plain(error: Exception) -> LikenessError:
    if isinstance(error, LikenessError):
        return error
    if isinstance(error, MemoryError) or "memory" in str(error).lower():
        return WorkerError("does not fit into the memory of a worker; try a smaller picture or a lower upscale")
    return WorkerError(f"failed unexpectedly ({type(error).__name__}: {error}); try another file")


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def limit_memory(megabytes: int | None) -> None:
    """Limits this process's private memory on Linux; does nothing elsewhere, or without a number."""
    if megabytes is None or not sys.platform.startswith("linux"):
        return
    import resource

    # Data, not address space: CUDA and mapped weights reserve addresses that cost no memory.
    resource.setrlimit(resource.RLIMIT_DATA, (megabytes * 2**20, resource.RLIM_INFINITY))
