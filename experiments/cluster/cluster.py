"""Measures the workers of a cluster: `python experiments/cluster/cluster.py`.

Short clips by several workers against one process, and a long video in parts against one run. Clips are drawn.
Every worker is a process with one thread on this machine.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from distributed import Client, LocalCluster

from likeness.evaluation.report import provenance
from likeness.media.video_reader import VideoReader
from likeness.metrics.lpips import load_lpips
from likeness.ops.color import to_float
from likeness.ops.tensors import to_tensor
from likeness.pipeline import parts, resume
from likeness.pipeline.config import RestorerConfig, from_overrides
from likeness.pipeline.restorer import FileResult, Restorer
from likeness.scale.cluster import restore_on_cluster
from likeness.scale.restoring import RestoreTask
from likeness.tasks import arguments
from likeness.tasks.clips import moving, write_clip
from likeness.types import Pixels

NEAR = 1  # second around a joint
SIZE, FACE = (320, 240), 80.0


@dataclass
class ClusterOptions:
    """Options of the command.

    Attributes:
        dst: folder of the table.
        name: of the table's file.
        clips: short clips, restored by each number of workers; 0 = none.
        frames: of each.
        workers: numbers of workers.
        kill: whether a worker is killed after the first result, in one more run.
        seconds: of the long video; 0 = none.
        part: seconds of its parts.
        rate: frames a second of all clips.
        settings: options of the restoration, with spaces between them.
    """

    dst: str = "experiments/cluster"
    name: str = "table"
    clips: int = 40
    frames: int = 10
    workers: list[int] = field(default_factory=lambda: [1, 2])
    kill: bool = True
    seconds: float = 600.0
    part: float = 60.0
    rate: int = 10
    settings: str = "preset=speed expert.name=expert_f"


def degraded(count: int, seed: int = 0) -> Iterator[Pixels]:
    """A drawn face of 80 px that drifts, with noise."""
    rng = np.random.default_rng(seed)
    for frame in islice(moving(count + seed, SIZE, FACE), seed, None):
        yield np.clip(frame + rng.normal(0, 4, frame.shape), 0, 255).astype(np.uint8)


def short_clips(folder: Path, options: ClusterOptions, config: RestorerConfig) -> list[str]:
    """Markdown lines: seconds by number of workers, equality, and a run with a killed worker."""
    sources = [folder / f"{n}.mp4" for n in range(options.clips)]
    for n, source in enumerate(sources):
        write_clip(source, degraded(options.frames, n), 20, options.rate)
    alone = Restorer(config)
    expected = {source: _bytes(alone.file(source, folder / "one" / source.stem)) for source in sources}
    lines = ["| workers | killed | seconds | files | equal to one process, byte for byte |", "|---|---|---|---|---|"]
    runs = [(count, False) for count in options.workers] + [(max(options.workers), True)] * options.kill
    for count, kill in runs:
        with LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=None) as cluster:
            address = cluster.scheduler_address
            with Client(cluster) as client:
                victim = next(iter(client.run(os.getpid).values()))
            # Each worker loads its networks before the clock starts.
            first = [RestoreTask(source, folder / "warm" / source.stem, config) for source in sources[: 2 * count]]
            for _, finish in restore_on_cluster(address, first):
                finish()
            target = folder / f"{count}{kill}"
            tasks = [RestoreTask(source, target / source.stem, config) for source in sources]
            start, equal = time.perf_counter(), 0
            for done, (source, finish) in enumerate(restore_on_cluster(address, tasks)):
                equal += _bytes(finish()) == expected[source]
                if kill and done == 0:
                    os.kill(victim, signal.SIGKILL)
            seconds = time.perf_counter() - start
        lines.append(f"| {count} | {'one' if kill else 'none'} | {seconds:.1f} | {len(tasks)} | {equal} |")
    return lines


def _bytes(result: FileResult) -> bytes:
    return result.outputs["restored"].read_bytes()


def long_video(folder: Path, options: ClusterOptions, config: RestorerConfig) -> list[str]:
    """Markdown lines: how a video in parts differs from one run, encoded in the same segments."""
    source = folder / "long.mp4"
    count = round(options.seconds * options.rate)
    write_clip(source, degraded(count), 20, options.rate)
    resume.SEGMENT_SECONDS = options.part  # type: ignore[assignment]
    parts.PART_SECONDS = Fraction(options.part)
    cuts = [float(part.begin) for part in parts.plan_parts(source, config)[1:]]
    one = Restorer(from_overrides([*options.settings.split(), "resume=true"])).file(source, folder / "one")
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        ((_, finish),) = restore_on_cluster(cluster.scheduler_address, [RestoreTask(source, folder / "many", config)])
        many = finish()
    errors: dict[bool, list[float]] = {True: [], False: []}
    largest = {True: 0, False: 0}
    lpips, perceived = load_lpips(), list[list[float]]()
    pairs = zip(VideoReader(one.outputs["restored"]), VideoReader(many.outputs["restored"]), strict=True)
    for (a, b), truth in zip(pairs, moving(count, SIZE, FACE), strict=True):
        near = any(abs(float(a.time) - cut) < NEAR for cut in cuts)
        difference = np.abs(a.pixels.astype(np.int16) - b.pixels)
        errors[near].append(float(np.square(difference, dtype=np.float64).mean()))
        largest[near] = max(largest[near], int(difference.max()))
        if near:
            wanted = to_tensor(to_float(truth))
            perceived.append([float(lpips(to_tensor(to_float(x.pixels)), wanted)) for x in (a, b)])
    lines = [
        "",
        "| frames | count | equal in every pixel | PSNR to one run, dB | largest difference |",
        "|---|---|---|---|---|",
    ]
    for near, name in ((False, f"{NEAR} s and more from a joint"), (True, f"within {NEAR} s of a joint")):
        values = errors[near]
        if values:
            mean = float(np.mean(values))
            ratio = "equal" if mean == 0 else f"{10 * np.log10(255**2 / mean):.1f}"
            equal = sum(value == 0 for value in values)
            lines.append(f"| {name} | {len(values)} | {equal} | {ratio} | {largest[near]} |")
    if perceived:
        alone, joined = np.mean(perceived, 0)
        lines += ["", f"- LPIPS within {NEAR} s of a joint: {alone:.4f} in one run, {joined / alone - 1:+.1%} in parts"]
    lines += ["", f"- one run: {one.summary}", f"- {len(cuts) + 1} parts: {many.summary}"]
    return lines


def run(options: ClusterOptions) -> None:
    """Measures, prints and writes.

    Raises:
        OutputError: if the table cannot be written.
    """
    torch.set_num_threads(1)
    config = from_overrides(options.settings.split())
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        if options.clips:
            lines += short_clips(Path(folder), options, config)
        if options.seconds:
            lines += long_video(Path(folder), options, config)
    title = "Workers of a cluster, and a video in parts"
    provenance.write_markdown(
        Path(options.dst) / f"{options.name}.md", title, lines, {"machine": provenance.machine("cpu")}
    )
    print("\n".join(lines))


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(ClusterOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
