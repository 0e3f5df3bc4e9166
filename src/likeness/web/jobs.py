"""Jobs as folders: `<root>/<id>/job.json`, the upload, and the results.

The state on disk decides: a job is accepted once its job.json exists, and a job that was pending or running when the
server died is queued again by the next one.
"""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future, wait
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Event, RLock, Thread
from typing import Any

from likeness.errors import ConfigError, LikenessError, OutputError
from likeness.log import get_logger
from likeness.media.files import atomic_output
from likeness.media.naming import MEDIA_SUFFIXES
from likeness.pipeline.restorer import FileResult
from likeness.scale.local import Pool, Ticket
from likeness.scale.restoring import RestoreTask
from likeness.web.options import config_of

STATE, RESULTS = "job.json", "results"
KILL_SECONDS = 10  # within which a cancelled job's worker is gone
UNFINISHED = ("pending", "running")
_LOG = get_logger(__name__)


class QueueFull(LikenessError):
    """The queue holds as many jobs as it may."""


@dataclass(frozen=True)
class Job:
    """What is known of a job; `job.json` holds all of it but the progress.

    Attributes:
        id: 128 random bits; who knows it may see the job.
        name: of the file, as its owner called it; never part of a path.
        status: pending, running, done, failed or cancelled.
        options: `key=value` words.
        source, reference: names inside the job's folder.
        created, finished: seconds since 1970.
        error: one sentence.
        outputs: names in the folder of results by role.
        done, total: frames of a clip, tiles of a photo.
        faces: found so far.
    """

    id: str
    name: str
    source: str
    options: tuple[str, ...] = ()
    reference: str | None = None
    status: str = "pending"
    created: float = field(default_factory=time.time)
    started: float | None = None
    finished: float | None = None
    error: str | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)
    done: int = 0
    total: int | None = None
    faces: int = 0


class Jobs:
    """All jobs of a server.

    Args:
        root: the folder of all jobs; nothing outside of it is written.
        pool: does the work.
        owner: options of the server's owner, under every job's.
        queue: jobs that may wait.
        ttl: seconds after its end at which a job is deleted.

    Attributes:
        ended, worked: jobs that ended since the start, and the seconds of work on them, by status.
    """

    def __init__(
        self, root: Path, pool: Pool[RestoreTask, FileResult], owner: Sequence[str], queue: int, ttl: float
    ) -> None:
        self.root, self.pool, self.owner, self.queue, self.ttl = root, pool, tuple(owner), queue, ttl
        self.ended, self.worked = Counter[str](), defaultdict[str, float](float)
        self._jobs: dict[str, Job] = {}
        self._tickets: dict[str, Ticket[RestoreTask, FileResult]] = {}
        self._lock, self._closing = RLock(), Event()
        self._load()
        self._sweeper = Thread(target=self._sweep, daemon=True, name="likeness-jobs")
        self._sweeper.start()

    def new_folder(self) -> Path:
        """An empty folder with a random name, for an upload; call `accept` or `discard` next."""
        folder = self.root / secrets.token_hex(16)
        folder.mkdir(parents=True)
        return folder

    def discard(self, folder: Path) -> None:
        """Deletes a folder that was not accepted."""
        shutil.rmtree(folder, ignore_errors=True)

    def check_room(self) -> None:
        """Raises QueueFull if no further job may wait."""
        with self._lock:
            waiting = sum(job.status == "pending" for job in self._jobs.values())
        if waiting >= self.queue:
            raise QueueFull(f"the queue is full ({waiting} jobs wait); try again later")

    def accept(
        self, folder: Path, name: str, source: str, options: Sequence[str] = (), reference: str | None = None
    ) -> Job:
        """Queues the upload in `folder`.

        Raises:
            QueueFull: if too many jobs wait.
            ConfigError: for options that make no sense.
            OutputError: if the state cannot be written.
        """
        config_of(self.owner, options)
        job = Job(folder.name, shown_name(name), source, tuple(options), reference)
        with self._lock:
            self.check_room()
            self._keep(job)
            self._submit(job)
        return job

    def get(self, id: str) -> Job | None:
        """The job, or None."""
        with self._lock:
            return self._jobs.get(id)

    def position(self, id: str) -> int | None:
        """How many jobs are before a waiting one; None for others."""
        with self._lock:
            waiting = [job.id for job in self._jobs.values() if job.status == "pending"]
        return waiting.index(id) if id in waiting else None

    def counts(self) -> dict[str, int]:
        """Number of jobs by status."""
        with self._lock:
            statuses = [job.status for job in self._jobs.values()]
        return {status: statuses.count(status) for status in ("pending", "running", "done", "failed", "cancelled")}

    def wait(self, id: str, seconds: float | None = None) -> Job | None:
        """Waits for the end of a job."""
        end = None if seconds is None else time.monotonic() + seconds
        while (job := self.get(id)) and job.status in UNFINISHED and (end is None or time.monotonic() < end):
            time.sleep(0.02)
        return self.get(id)

    def folder(self, job: Job) -> Path:
        """Where the job's files lie."""
        return self.root / job.id

    def output(self, job: Job, role: str) -> Path | None:
        """The file of a role ("restored", "compare", "cards", "report", "frames"), if there is one."""
        name = job.outputs.get(role)
        return None if name is None else self.folder(job) / RESULTS / name

    def report(self, job: Job) -> dict[str, Any] | None:
        """The report, without paths of the server and without options of its owner."""
        path = self.output(job, "report")
        if path is None or not path.is_file():
            return None
        report: dict[str, Any] = json.loads(path.read_text())
        report["input"]["file"] = job.name
        report["outputs"] = dict(job.outputs)
        report["settings"].pop("weights", None)
        if "reference" in report:
            report["reference"]["file"] = "reference"
        return report

    def cancel(self, id: str) -> None:
        """Ends a job that waits or runs; its worker is replaced."""
        with self._lock:
            ticket = self._tickets.get(id)
        if ticket is not None:
            ticket.cancel()

    def delete(self, id: str) -> bool:
        """Cancels and forgets a job and deletes its folder; False where there is none."""
        with self._lock:
            ticket = self._tickets.get(id)
        if ticket is not None:
            ticket.cancel()
            if not ticket.future.cancelled():  # it runs: its worker would write into the folder again
                wait([ticket.future], KILL_SECONDS)
        with self._lock:
            job = self._jobs.pop(id, None)
        if job is not None:
            shutil.rmtree(self.folder(job), ignore_errors=True)
        return job is not None

    def close(self) -> None:
        """Ends the work at once; what is not finished goes on with the next start."""
        self._closing.set()
        self.pool.close()
        self._sweeper.join()

    def _load(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        found = []
        for folder in (f for f in self.root.iterdir() if f.is_dir() and not f.name.startswith(".")):
            job = _read(folder)
            if job is None:
                self.discard(folder)  # an upload that never ended
            else:
                found.append(job)
        for job in sorted(found, key=lambda job: job.created):
            self._jobs[job.id] = job
            if job.status in UNFINISHED:
                self._jobs[job.id] = job = replace(job, status="pending", started=None)
                try:
                    self._submit(job)
                except ConfigError as error:  # an option that an earlier version took
                    self._change(job.id, status="failed", finished=time.time(), error=str(error))

    def _submit(self, job: Job) -> None:
        folder = self.folder(job)
        task = RestoreTask(
            folder / job.source,
            folder / RESULTS,
            config_of(self.owner, job.options),
            None if job.reference is None else folder / job.reference,
        )
        ticket = self.pool.submit(
            task,
            lambda done, total, faces: self._change(job.id, stored=False, done=done, total=total, faces=faces),
            lambda: self._change(job.id, status="running", started=time.time()),
        )
        self._tickets[job.id] = ticket
        ticket.future.add_done_callback(lambda future: self._end(job.id, future))

    def _end(self, id: str, future: Future[FileResult]) -> None:
        with self._lock:
            self._tickets.pop(id, None)
        if self._closing.is_set():
            return
        try:
            result = future.result()
        except CancelledError:
            self._change(id, status="cancelled", finished=time.time())
        except (LikenessError, OSError) as error:
            job = self.get(id)
            message = str(error) if job is None else self._without_paths(str(error), job)
            self._change(id, status="failed", finished=time.time(), error=message)
        else:
            outputs = {role: path.name for role, path in result.outputs.items()}
            self._change(id, status="done", finished=time.time(), outputs=outputs)

    def _without_paths(self, text: str, job: Job) -> str:
        folder = self.folder(job)
        text = text.replace(str(folder / job.source), job.name)
        if job.reference:
            text = text.replace(str(folder / job.reference), "the reference")
        return text.replace(f"{folder}/", "")

    def _change(self, id: str, stored: bool = True, **changes: Any) -> None:
        with self._lock:
            job = self._jobs.get(id)
            if job is None:
                return
            job = self._jobs[id] = replace(job, **changes)
            if job.finished:
                self.ended[job.status] += 1
                self.worked[job.status] += job.finished - (job.started or job.finished)
            if not stored:
                return
            try:
                self._keep(job)
            except OutputError as error:  # the disk is full: the state in memory stands
                _LOG.error("job %s: %s", id, error)

    def _keep(self, job: Job) -> None:
        try:
            with atomic_output(self.folder(job) / STATE) as partial:
                partial.write_text(json.dumps(asdict(job)))
        except OSError as error:
            raise OutputError(f"the state of the job cannot be written ({error.strerror}); try again later") from error
        self._jobs[job.id] = job

    def _sweep(self) -> None:
        while not self._closing.wait(min(60.0, self.ttl / 10)):
            with self._lock:
                old = [j.id for j in self._jobs.values() if j.finished and j.finished + self.ttl < time.time()]
            for id in old:
                self.delete(id)


def _read(folder: Path) -> Job | None:
    try:
        stored = json.loads((folder / STATE).read_text())
        return Job(**(stored | {"options": tuple(stored["options"])}))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        _LOG.error("job %s cannot be read and is deleted: %s", folder.name, error)
        return None


def shown_name(name: str) -> str:
    """A client's file name for people: its last part, printable, at most 100 characters."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(c for c in last if c.isprintable()).strip()[-100:] or "file"


def stored_suffix(name: str) -> str:
    """The suffix under which an upload is stored: the client's where it is one of a medium, else none."""
    suffix = Path(shown_name(name)).suffix.lower()
    return suffix if suffix in MEDIA_SUFFIXES else ""
