"""Times a photo with one face in a server and in `Restorer.file`: `python experiments/load/server_photo.py runs=7`.

The photo has 640 x 480 pixels. Networks are loaded before; `Restorer.file` is what infer.py does after its start.
"""

from __future__ import annotations

import logging
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from likeness.errors import ConfigError, LikenessError
from likeness.evaluation.report import provenance
from likeness.evaluation.report.files import writing
from likeness.pipeline.config import RestorerConfig
from likeness.pipeline.restorer import Restorer
from likeness.tasks import arguments
from likeness.tasks.clips import moving


@dataclass
class ServerPhotoOptions:
    """Options of the command.

    Attributes:
        dst: folder of the table.
        runs: of each, by turns, after one that is not counted.
        face: width in pixels.
    """

    dst: str = "experiments/load"
    runs: int = 7
    face: float = 120.0

    def __post_init__(self) -> None:
        if self.runs < 1:
            raise ConfigError(f"runs: got {self.runs}, expected 1 or more")


def photo(path: Path, face: float) -> None:
    """A photo of 640 x 480 with one face: scikit-image's astronaut (NASA)."""
    Image.fromarray(next(iter(moving(1, (640, 480), face)))).save(path, quality=95)


def served(folder: Path) -> tuple[str, Callable[[], None]]:
    """A server with one worker, on a free port: its address, and what ends it."""
    import uvicorn

    from likeness.scale.local import Pool
    from likeness.web.jobs import Jobs
    from likeness.web.serve import ServeConfig, create_app
    from likeness.web.work import WebWork

    settings = ServeConfig(page=False)
    jobs = Jobs(folder, Pool(WebWork(RestorerConfig(), settings.limits), 1), (), settings.queue, settings.ttl)
    server = uvicorn.Server(uvicorn.Config(create_app(settings, (), jobs), port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not (server.started and jobs.pool.ready):
        time.sleep(0.05)

    def end() -> None:
        server.should_exit = True
        thread.join()

    return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", end


def measure(options: ServerPhotoOptions, folder: Path) -> dict[str, list[float]]:
    """Seconds of every counted run."""
    import httpx

    source, restorer = folder / "photo.jpg", Restorer(RestorerConfig())
    photo(source, options.face)
    address, end = served(folder / "jobs")
    times: dict[str, list[float]] = {"file": [], "server": []}
    try:
        with httpx.Client(base_url=address, timeout=300) as client:
            for _ in range(1 + options.runs):
                begun = time.perf_counter()
                own = restorer.file(source, folder / "own")
                middle = time.perf_counter()
                answer = client.post("/v1/restore", files={"file": ("photo.jpg", source.read_bytes())})
                times["server"].append(time.perf_counter() - middle)
                times["file"].append(middle - begun)
                if answer.content != own.outputs["restored"].read_bytes():
                    raise LikenessError("the server's result is another than that of Restorer.file")
    finally:
        end()
    return {name: seconds[1:] for name, seconds in times.items()}


def run(options: ServerPhotoOptions) -> None:
    """Measures and writes the table."""
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for every request
    with tempfile.TemporaryDirectory() as folder:
        times = measure(options, Path(folder))
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    rows = [f"| {name} | {m:.2f} | {min(times[name]):.2f} | {max(times[name]):.2f} |" for name, m in medians.items()]
    text = "\n".join([
        "| seconds | median | least | most |",
        "|---|---|---|---|",
        *rows,
        "",
        f"The server takes {medians['server'] / medians['file']:.2f} times as long; its result is the same, bit "
        f"for bit. {options.runs} runs, by turns; a face of {options.face:g} px in 640 x 480.",
        "",
        f"Command: `{provenance.command()}`, commit {provenance.commit()}, {provenance.machine('cpu')}.",
        "",
    ])  # fmt: skip
    print(text)
    with writing(Path(options.dst), "dst"):
        (Path(options.dst) / "photo.md").write_text(text)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(ServerPhotoOptions, run, argv, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
