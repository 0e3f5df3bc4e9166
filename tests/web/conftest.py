"""A server whose worker is a thread that copies its input; no network is loaded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from fastapi.testclient import TestClient

from likeness.errors import InputError
from likeness.pipeline.restorer import FileResult
from likeness.scale.local import Ticket
from likeness.web.jobs import Jobs
from likeness.web.serve import ServeConfig, create_app

FACE = {
    "w": 84.3, "route": "expert_t", "reason": "small", "restored_frames": 1, "identity_distance": 0.21,
    "guard": {"verdict": "same"}, "expert": "expert_t", "frames": 1, "card": 0,
}  # fmt: skip
SMALL = FACE | {
    "w": 38.6,
    "route": "skip",
    "reason": "too small: width 38 px < 50",
    "restored_frames": 0,
    "guard": None,
}
PNG = b"\x89PNG\r\n\x1a\n"


class StubPool:
    """Has the interface of `Pool`. A source that contains b"wait" waits for `go`, one with b"bad" fails."""

    def __init__(self) -> None:
        self.go, self.ready, self.replaced = Event(), 1, 0
        self._threads = ThreadPoolExecutor(1)
        self.tasks: list[object] = []
        self.closed = False

    def submit(self, task, progress=lambda done, total, faces: None, started=lambda: None):
        ticket = Ticket(task, progress, started)
        self._threads.submit(self._run, ticket)
        return ticket

    def _run(self, ticket):
        if not ticket.future.set_running_or_notify_cancel():
            return
        self.tasks.append(ticket.task)
        try:
            ticket.started()
            ticket.future.set_result(self._work(ticket))
        except BaseException as error:
            ticket.future.set_exception(error)

    def _work(self, ticket):
        task, content = ticket.task, ticket.task.source.read_bytes()
        ticket.progress(1, 4, 2)
        while b"wait" in content and not self.go.wait(0.02):
            if ticket.cancelled or self.closed:
                from concurrent.futures import CancelledError

                raise CancelledError
        if b"bad" in content:
            raise InputError(f"{task.source}: is damaged or incomplete; get or export it again")
        task.folder.mkdir(exist_ok=True)
        names = {"restored": task.source.name, "cards": "input_faces.png", "report": "input_report.json"}
        outputs = {role: task.folder / name for role, name in names.items()}
        outputs["restored"].write_bytes(content)
        outputs["cards"].write_bytes(PNG)
        report = {
            "input": {"file": str(task.source), "kind": "photo"}, "outputs": {}, "settings": {"weights": {"a": "/b"}},
            "faces": [FACE, SMALL], "summary": "2 faces: 1 restored, 1 too small (38 px)",
        }  # fmt: skip
        outputs["report"].write_text(json.dumps(report))
        return FileResult(outputs, report)

    def close(self) -> None:
        self.closed = True
        self._threads.shutdown(cancel_futures=True)


@pytest.fixture
def pool() -> Iterator[StubPool]:
    pool = StubPool()
    yield pool
    pool.close()


@pytest.fixture
def serve(tmp_path: Path, pool: StubPool) -> Iterator[Callable[..., TestClient]]:
    """`serve(token="", **settings)`: a client of a new server without the page; loopback by default."""
    clients = []

    def start(token: str = "", **settings: object) -> TestClient:
        chosen = ServeConfig(**({"page": False, "queue": 3} | settings))
        jobs = Jobs(tmp_path / "jobs", pool, ("device=cpu",), chosen.queue, chosen.ttl)
        client = TestClient(create_app(chosen, (), jobs, token), base_url="http://127.0.0.1:7860")
        client.__enter__()
        clients.append(client)
        return client

    yield start
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def client(serve: Callable[..., TestClient]) -> TestClient:
    return serve()
