"""Loads, kills and fills a server of its own: `python experiments/load/server_load.py`, or `make test-load`.

Every upload shows its number as a pattern of blocks, which is read in the result. One table a part, as Markdown.
"""

from __future__ import annotations

import io
import json
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Self

import cv2
import numpy as np
from PIL import Image

from likeness.errors import ConfigError, LikenessError
from likeness.evaluation.report import provenance
from likeness.evaluation.report.files import writing
from likeness.media.files import kind_of
from likeness.media.readers import open_reader
from likeness.tasks import arguments
from likeness.tasks.clips import write_clip
from likeness.types import Pixels

KINDS = (".png", ".jpg", ".gif", ".mp4", "broken")
FRAMES = {".gif": 4, ".mp4": 6}
SIZES = ((96, 128), (112, 160), (128, 96))  # height, width
COLUMNS, ROWS = 4, 3  # of blocks: numbers below 4096
OPTIONS = {"preset": "speed", "background.name": "lanczos", "upscale": 2}
LIMIT = 300  # seconds for one job


@dataclass
class ServerLoadOptions:
    """Options of the command.

    Attributes:
        dst: folder of the tables.
        parts: some of busy, kills, disk.
        jobs, clients: of the part busy.
        queue: jobs that may wait there.
        kills: of the server, in the part kills.
        workers: of the server.
        seed: of the moments at which it is killed, and of the pictures.
    """

    dst: str = "experiments/load"
    parts: list[str] = field(default_factory=lambda: list(PARTS))
    jobs: int = 200
    clients: int = 20
    queue: int = 40
    kills: int = 5
    workers: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        if not set(self.parts) <= PARTS.keys() or not 0 < self.jobs < 2 ** (COLUMNS * ROWS):
            raise ConfigError(
                f"got parts={self.parts}, jobs={self.jobs}; expected some of {', '.join(PARTS)}, and 1 to 4095 jobs"
            )


class Failure(LikenessError):
    """The server lost, mixed or spoiled something."""


def expect(true: object, what: str) -> None:
    """Raises Failure unless `true`."""
    if not true:
        raise Failure(what)


def draw(number: int, seed: int) -> Pixels:
    """A picture that shows the number as light and dark blocks, under noise that does not compress."""
    height, width = SIZES[number % len(SIZES)]
    bits = np.array([number >> n & 1 for n in range(COLUMNS * ROWS)], np.uint8).reshape(ROWS, COLUMNS)
    blocks = cv2.resize(60 + 135 * bits, (width, height), interpolation=cv2.INTER_NEAREST)
    noise = np.random.default_rng((seed, number)).integers(-20, 21, (height, width, 3))
    return (blocks[..., None] + noise).astype(np.uint8)


def read_number(pixels: Pixels) -> int:
    """The number in a picture of any size."""
    light = cv2.resize(pixels.mean(2), (COLUMNS, ROWS), interpolation=cv2.INTER_AREA) > 127
    return sum(int(bit) << n for n, bit in enumerate(light.ravel()))


def make_file(number: int, seed: int) -> tuple[str, bytes]:
    """Name and content of the upload of a number; every fifth is broken."""
    kind, picture = KINDS[number % len(KINDS)], draw(number, seed)
    frames = [np.roll(picture, n, 2) for n in range(FRAMES.get(kind, 1))]  # the same blocks in other colours
    suffix = ".png" if kind == "broken" else kind
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        if kind == ".mp4":
            write_clip(path, frames, 10)
        else:
            pages = [Image.fromarray(frame) for frame in frames]
            pages[0].save(path, save_all=kind == ".gif", append_images=pages[1:], duration=80)
        content = path.read_bytes()
    return f"{number:04}{suffix}", content[: len(content) // 2] if kind == "broken" else content


def numbers_in(name: str, content: bytes) -> set[int]:
    """The numbers that the frames of a result show; None of them where a frame is missing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        with open_reader(path, kind_of(path)) as reader:
            found = [read_number(frame.pixels) for frame in reader]
    return set(found) if len(found) == FRAMES.get(path.suffix, 1) else set()


class Server:
    """A server in a process of its own, on a free port, with its jobs in `folder`.

    Args:
        folder: of the jobs.
        words: further options.
        before: a command that the server's is appended to.
    """

    def __init__(self, folder: Path, *words: str, before: Sequence[str] = ()) -> None:
        import httpx

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        serve = [sys.executable, "-m", "likeness.cli", "serve", f"port={port}", f"jobs={folder}", "device=cpu"]
        self.command = [*before, *serve, *words]
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
        self.gone: type[Exception] = httpx.TransportError
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGKILL)

    @property
    def pid(self) -> int:
        """Of the server's process."""
        if self.process is None:
            raise Failure("the server does not run")
        return self.process.pid

    def start(self) -> None:
        """Starts it and waits for a worker."""
        self.process = process = subprocess.Popen(self.command, stderr=subprocess.DEVNULL)
        for _ in range(1200):
            expect(process.poll() is None, "the server ended while it started")
            try:
                if self.http.get("/readyz").status_code == 200:
                    return
            except self.gone:
                pass
            time.sleep(0.1)
        raise Failure("the server was not ready within two minutes")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Ends it."""
        if self.process:
            self.process.send_signal(how)
            self.process.wait(60)

    def post(self, number: int, seed: int) -> str | None:
        """Uploads the file of a number; returns the job's id, or None where the queue is full."""
        name, content = make_file(number, seed)
        answer = self.http.post("/v1/jobs", files={"file": (name, content)}, data={"options": json.dumps(OPTIONS)})
        if answer.status_code == 429:
            time.sleep(int(answer.headers["Retry-After"]))
            return None
        expect(answer.status_code == 202, f"upload {number}: {answer.status_code} {answer.text}")
        return str(answer.json()["id"])

    def check(self, id: str, number: int) -> str:
        """Waits for a job, compares what its result shows with the number, and returns the status."""
        end = time.monotonic() + LIMIT
        while (job := self.http.get(f"/v1/jobs/{id}").json())["status"] in ("pending", "running"):
            expect(time.monotonic() < end, f"job {number} did not end")
            time.sleep(0.3)
        broken = KINDS[number % len(KINDS)] == "broken"
        expect(job["name"].startswith(f"{number:04}"), f"job {number} is called {job['name']}")
        if job["status"] == "failed":
            expect(job["error"] and "\n" not in job["error"], f"job {number} failed without a sentence")
            return "broken, refused" if broken and "damaged or incomplete" in job["error"] else str(job["error"])
        expect(job["status"] == "done" and not broken, f"job {number} ended as {job['status']}")
        found = numbers_in(job["name"], self.http.get(f"/v1/jobs/{id}/result").content)
        expect(found == {number}, f"job {number} shows {found}")
        return "right"

    def memory(self) -> tuple[float, float]:
        """Resident MB of the server and of all its workers."""
        import psutil

        server = psutil.Process(self.pid)
        sizes = [p.memory_info().rss / 2**20 for p in (server, *server.children(recursive=True))]
        return sizes[0], sum(sizes[1:])


@contextmanager
def health(server: Server, every: float = 0.1) -> Iterator[list[float]]:
    """Asks for /healthz until the block ends, by a connection of its own; yields the milliseconds so far."""
    import httpx

    times, over = list[float](), Event()

    def ask() -> None:
        with httpx.Client(base_url=server.http.base_url, timeout=60) as client:
            while not over.wait(every):
                begun = time.perf_counter()
                client.get("/healthz").raise_for_status()
                times.append(1000 * (time.perf_counter() - begun))

    thread = Thread(target=ask)
    thread.start()
    try:
        yield times
    finally:
        over.set()
        thread.join()


def busy(options: ServerLoadOptions, folder: Path) -> dict[str, str]:
    """Many clients at once, each with a share of the jobs, all sent before the first is collected."""
    ended, full, warm = list[str](), list[int](), list[tuple[float, float]]()

    def client(first: int) -> None:
        numbers, ids = range(first, options.jobs + 1, options.clients), dict[int, str]()
        for number in numbers:
            while (id := server.post(number, options.seed)) is None:
                full.append(number)
            ids[number] = id
        for number, id in ids.items():
            ended.append(server.check(id, number))
            expect(server.http.delete(f"/v1/jobs/{id}").status_code == 204, f"job {number} cannot be deleted")
            if len(ended) >= options.jobs // 4 and not warm:
                warm.append(server.memory())

    with Server(folder, f"workers={options.workers}", f"queue={options.queue}") as server:
        begun = time.monotonic()
        with health(server) as times, ThreadPoolExecutor(options.clients) as threads:
            list(threads.map(client, range(1, options.clients + 1)))
        seconds = time.monotonic() - begun
        time.sleep(3)
        after, left = server.memory(), len([p for p in folder.iterdir() if not p.name.startswith(".")])
    ends, broken = Counter(ended), len([n for n in range(1, options.jobs + 1) if KINDS[n % len(KINDS)] == "broken"])
    expect(ends == {"right": options.jobs - broken, "broken, refused": broken}, f"jobs ended as {dict(ends)}")
    expect(full, "the queue was never full")
    expect(left == 0, f"{left} folders are left")
    growth = [100 * (b / a - 1) for a, b in zip(warm[0], after, strict=True)]
    return {
        "jobs, clients, workers": f"{options.jobs}, {options.clients}, {options.workers}",
        "right result / broken file, refused": f"{ends['right']} / {ends['broken, refused']}",
        "answers 429, each with Retry-After": str(len(full)),
        "seconds": f"{seconds:.0f}",
        "/healthz: median / p95 / worst": " / ".join(f"{np.percentile(times, p):.0f} ms" for p in (50, 95, 100)),
        "memory after a quarter, at the end: server": f"{warm[0][0]:.0f} MB, {after[0]:.0f} MB ({growth[0]:+.1f} %)",
        "workers": f"{warm[0][1]:.0f} MB, {after[1]:.0f} MB ({growth[1]:+.1f} %)",
    }  # fmt: skip


def kills(options: ServerLoadOptions, folder: Path) -> dict[str, str]:
    """The server is killed at random moments while clients upload; then its workers are."""
    server = Server(folder, f"workers={options.workers}", "queue=4000", "page=false")
    moments = random.Random(options.seed)
    accepted, told, unfinished = dict[int, str](), list[str](), list[int]()
    numbers = iter(range(1, 2 ** (COLUMNS * ROWS)))

    def client(_: int) -> None:
        while True:
            number = next(numbers)
            try:
                accepted[number] = server.post(number, options.seed) or ""
            except server.gone:
                return
            time.sleep(0.5)

    for _ in range(options.kills):
        moment = moments.uniform(0.2, 4)
        with ThreadPoolExecutor(4) as threads, server:
            running = [threads.submit(client, n) for n in range(4)]
            time.sleep(moment)
            states = [json.loads(path.read_text())["status"] for path in folder.glob("*/job.json")]
        for thread in running:
            thread.result()
        told.append(f"{moment:.1f} s")
        unfinished.append(sum(state in ("pending", "running") for state in states))
    with server:
        ends = Counter(server.check(id, number) for number, id in accepted.items())
        expect(set(ends) == {"right", "broken, refused"}, f"jobs ended as {dict(ends)}")
        died = workers_killed(server, options)
    return {
        "server killed after": ", ".join(told),
        "jobs unfinished at that moment": ", ".join(map(str, unfinished)),
        "accepted jobs": f"{len(accepted)}",
        "right result / broken file, refused": f"{ends['right']} / {ends['broken, refused']}",
        "workers killed at once, jobs that failed with them": f"{options.workers}, {died}",
    }  # fmt: skip


def workers_killed(server: Server, options: ServerLoadOptions) -> int:
    """Kills all workers amid a dozen clips; returns how many failed, which are at most one a worker."""
    import psutil

    jobs = {n: server.post(n, options.seed) or "" for n in range(4000, 4060) if KINDS[n % len(KINDS)] == ".mp4"}
    while server.http.get("/metrics").text.count('likeness_jobs{status="running"} 0.0'):
        time.sleep(0.01)
    for process in psutil.Process(server.pid).children():
        if "spawn_main" in " ".join(process.cmdline()):
            process.kill()
    ends = Counter(server.check(id, number) for number, id in jobs.items())
    died = sum(count for end, count in ends.items() if "worker process died (signal 9)" in end)
    expect(0 < died <= options.workers and died + ends["right"] == len(jobs), f"jobs ended as {dict(ends)}")
    return died


def disk(options: ServerLoadOptions, folder: Path) -> dict[str, str]:
    """The jobs lie on a disk of 2 MB, which a name space of the server's own holds."""
    mount = f'mount -t tmpfs -o size=2m tmpfs "{folder}" && exec "$@"'
    picture = io.BytesIO()
    Image.fromarray(np.vstack([draw(1, options.seed)] * 3)).save(picture, "PNG")
    ends, ids = Counter[str](), list[str]()
    with Server(folder, "page=false", before=["unshare", "-rm", "sh", "-c", mount, "sh"]) as server:
        for _ in range(20):
            answer = server.http.post("/v1/jobs", files={"file": ("0001.png", picture.getvalue())})
            if answer.status_code == 507:
                expect("no room" in answer.json()["detail"], answer.text)
                ends["507"] += 1
                continue
            ids.append(answer.json()["id"])
            while (job := server.http.get(f"/v1/jobs/{ids[-1]}").json())["status"] in ("pending", "running"):
                time.sleep(0.1)
            expect(job["status"] == "done" or "No space left" in job["error"], str(job))
            ends[job["status"]] += 1
        for id in ids:
            expect(server.http.delete(f"/v1/jobs/{id}").status_code == 204, "a job cannot be deleted")
        id = server.post(1, options.seed) or ""
        expect(server.check(id, 1) == "right", "the server does not go on")
    expect(ends["done"] and ends["failed"] and ends["507"], f"uploads ended as {dict(ends)}")
    return {
        "uploads: done / failed for want of room, with a sentence / refused, 507": " / ".join(
            str(ends[end]) for end in ("done", "failed", "507")
        ),
        "after the jobs were deleted": "the next upload is done",
    }


PARTS: dict[str, Callable[[ServerLoadOptions, Path], dict[str, str]]] = {"busy": busy, "kills": kills, "disk": disk}


def run(options: ServerLoadOptions) -> None:
    """Runs the parts and writes a table of each."""
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for every request
    for name in options.parts:
        load = os.getloadavg()[0]
        with tempfile.TemporaryDirectory() as folder:
            jobs = Path(folder) / "jobs"
            jobs.mkdir()
            rows = PARTS[name](options, jobs)
        where = f"commit {provenance.commit()}, {provenance.machine('cpu')}; load average before: {load:.1f}"
        lines = ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items()), ""]
        text = "\n".join([*lines, f"Command: `{provenance.command()}`, {where}.", ""])
        print(text)
        with writing(Path(options.dst), "dst"):
            (Path(options.dst) / f"{name}.md").write_text(text)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(ServerLoadOptions, run, argv, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
