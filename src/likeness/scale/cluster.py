"""Files restored on a Dask cluster: a task each, long videos in parts.

The workers reach inputs and outputs under the same paths as the client. A task whose worker dies goes to another one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from distributed import Client, Future, KilledWorker, as_completed

from likeness.errors import (
    ConfigError,
    InputError,
    LikenessError,
    OutputError,
    WeightsError,
    WorkerError,
    last_net,
    one_line,
)
from likeness.media.files import kind_of
from likeness.media.naming import OutputNames, check_target, target_name
from likeness.pipeline.config import from_json, to_json
from likeness.pipeline.parts import JoinJob, Part, PartJob, plan_parts
from likeness.pipeline.restorer import FileResult, Restorer
from likeness.scale.restoring import RestoreTask
from likeness.version import __version__

RETRIES = 2  # of a task that failed for a reason that may not recur
CONNECT_SECONDS = 30  # for which the scheduler, and a first worker, are waited for
LASTING = (InputError, OutputError, ConfigError, WeightsError)  # would recur: these are not tried again

Outcome = FileResult | LikenessError | None
Finish = Callable[[], FileResult]


@dataclass(frozen=True)
class _Work:
    """What travels to a worker: one file, with the options as text."""

    source: Path
    folder: Path
    options: str
    reference: Path | None

    @property
    def names(self) -> OutputNames:
        return OutputNames(self.source, self.folder / target_name(self.source, "video"))


def restore_on_cluster(address: str, tasks: Sequence[RestoreTask]) -> Iterator[tuple[Path, Finish]]:
    """Restores files on the workers of a scheduler.

    Args:
        address: of the scheduler, such as tcp://HOST:8786.
        tasks: the files.

    Yields:
        Each source when it is done, and a function that returns its result or raises what its restoration raised.

    Raises:
        ConfigError: if no scheduler answers, no worker is there, or one has another version of this package.
    """
    with _connect(address) as client:
        futures = {_submit(client, task): task.source for task in tasks}
        for future in as_completed(list(futures)):
            yield futures[future], partial(_finished, _outcome(futures[future], future))


def _connect(address: str) -> Client:
    try:
        client = Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"scale.scheduler: {address} does not answer ({one_line(error)}); start `dask scheduler` there"
        ) from error
    try:
        client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        versions = set(client.run(_version).values())
    except TimeoutError as error:
        client.close()
        raise ConfigError(f"scale.scheduler: {address} has no worker; start `dask worker {address}`") from error
    if versions != {__version__}:
        client.close()
        raise ConfigError(
            f"scale.scheduler: got workers with likeness {', '.join(sorted(versions))}, expected {__version__}; "
            "install the same version everywhere"
        )
    return client


def _version() -> str:
    return __version__


def _submit(client: Client, task: RestoreTask) -> Future[Outcome]:
    reference = None if task.reference is None else task.reference.absolute()
    work = _Work(task.source.absolute(), task.folder.absolute(), to_json(task.config), reference)
    parts = [] if reference else _parts(work)
    if len(parts) < 2:
        return client.submit(_restore_file, work, pure=False, retries=RETRIES)
    shutil.rmtree(work.names.segments, ignore_errors=True)
    work.names.segments.mkdir(parents=True)
    done = [client.submit(_restore_part, work, part, pure=False, retries=RETRIES) for part in parts]
    return client.submit(_join, work, done, pure=False, retries=RETRIES)


def _parts(work: _Work) -> list[Part]:
    """The parts of a long video; none for other files, and where its worker will tell what is wrong with it."""
    try:
        if kind_of(work.source) != "video":
            return []
        check_target(work.source, work.names.restored, "video")
        return plan_parts(work.source, from_json(work.options))
    except LikenessError:
        return []


def _outcome(source: Path, future: Future[Outcome]) -> Outcome:
    try:
        with last_net(source):
            return future.result()
    except LikenessError as error:
        if isinstance(error.__cause__, KilledWorker):
            return WorkerError(
                f"{source}: every worker that had it died, probably out of memory or in a decoder; try a smaller file"
            )
        return error


def _finished(outcome: Outcome) -> FileResult:
    if isinstance(outcome, LikenessError):
        raise outcome
    assert outcome is not None  # only parts have no result, and they are joined
    return outcome


@lru_cache(maxsize=1)
def restorer_of(options: str) -> Restorer:
    """The restorer of a worker, whose networks stay loaded from task to task."""
    return Restorer(from_json(options))


def _restore_file(work: _Work) -> Outcome:
    return _tried(work, lambda restorer: restorer.file(work.source, work.folder, work.reference))


def _restore_part(work: _Work, part: Part) -> Outcome:
    return _tried(work, lambda own: PartJob(own.models, own.config, work.names, part).restore_part())


def _join(work: _Work, parts: Sequence[Outcome]) -> Outcome:
    failed = [part for part in parts if isinstance(part, LikenessError)]
    if failed:
        shutil.rmtree(work.names.segments, ignore_errors=True)
        return failed[0]
    return _tried(work, lambda own: JoinJob(own.models, own.config, work.names, "video").run())


def _tried(work: _Work, run: Callable[[Restorer], FileResult | None]) -> Outcome:
    """The result, or the error where another try would end in it as well."""
    try:
        with last_net(work.source):
            return run(restorer_of(work.options))
    except LASTING as error:
        return error
