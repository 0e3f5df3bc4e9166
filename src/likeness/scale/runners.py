"""Where the files of one command are restored: in this process, by worker processes, or on a cluster.

Each function yields every source and a function that returns its result or raises what its restoration raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import as_completed
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from likeness.errors import needs_extra
from likeness.pipeline.config import RestorerConfig
from likeness.pipeline.restorer import FileResult, Restorer
from likeness.scale.local import Pool
from likeness.scale.restoring import RestoreTask, RestoreWork

Finish = Callable[[], FileResult]  # returns the file's result, or raises what its restoration raised


def here(
    jobs: Mapping[Path, Path], reference: Path | None, config: RestorerConfig, console: Console, workers: int
) -> Iterator[tuple[Path, Finish]]:
    """One file after another in this process; each is restored when its function is called."""
    restorer = Restorer(config)
    for source, folder in jobs.items():
        yield source, partial(_one, restorer, source, folder, reference, console)


def by_workers(
    jobs: Mapping[Path, Path], reference: Path | None, config: RestorerConfig, console: Console, workers: int
) -> Iterator[tuple[Path, Finish]]:
    """By `workers` processes of this machine, in the order in which the files end."""
    with Pool(RestoreWork(config), workers) as pool, _progress(console) as bar:
        task = bar.add_task(f"{len(jobs)} files", total=len(jobs), speed="")
        futures = {pool.submit(RestoreTask(s, d, config, reference)).future: s for s, d in jobs.items()}
        for future in as_completed(futures):
            bar.advance(task)
            yield futures[future], future.result


def on_cluster(
    scheduler: str,
    jobs: Mapping[Path, Path],
    reference: Path | None,
    config: RestorerConfig,
    console: Console,
    workers: int,
) -> Iterator[tuple[Path, Finish]]:
    """By the workers of a Dask cluster, in the order in which the files end."""
    with needs_extra("cluster", "scale.scheduler"):
        from likeness.scale.cluster import restore_on_cluster
    tasks = [RestoreTask(source, folder, config, reference) for source, folder in jobs.items()]
    with _progress(console) as bar:
        task = bar.add_task(f"{len(jobs)} files", total=len(jobs), speed="")
        for source, finish in restore_on_cluster(scheduler, tasks):
            bar.advance(task)
            yield source, finish


def _one(restorer: Restorer, source: Path, folder: Path, reference: Path | None, console: Console) -> FileResult:
    with _progress(console) as bar:
        task = bar.add_task(source.name, total=None, speed="")

        def advance(done: int, total: int | None, faces: int) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, completed=done, total=total, speed=f"{speed:.1f} frames/s" if speed else "")

        return restorer.file(source, folder, reference, advance)


def _progress(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
