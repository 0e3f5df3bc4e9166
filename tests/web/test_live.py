"""A real server on a socket, with the pool of the other tests: clients that leave, that are slow, and a full disk."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import socket
import struct
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import uvicorn

from likeness.web import guard
from likeness.web.jobs import Jobs
from likeness.web.serve import ServeConfig, create_app

from .conftest import PNG

HEAD = (
    "POST /v1/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n"
    "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
)
PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
RESET = struct.pack("ii", 1, 0)  # closing sends RST


class Live:
    """The server's parts, and a client."""

    def __init__(self, server: uvicorn.Server, jobs: Jobs) -> None:
        self.server, self.jobs = server, jobs
        self.address = server.servers[0].sockets[0].getsockname()
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.address[1]}", timeout=20)

    def connect(self, path: str, length: int) -> socket.socket:
        """A connection that has sent the head of an upload."""
        connection = socket.create_connection(self.address, 20)
        connection.sendall(HEAD.format(path=path, length=length).encode())
        return connection

    def post(self, content: bytes, path: str = "jobs") -> httpx.Response:
        """An upload."""
        return self.client.post(f"/v1/{path}", files={"file": ("a.png", content)})

    def settles(self, files: int) -> bool:
        """Whether the server comes to hold but one connection and as many open files as before."""
        return soon(lambda: len(self.server.server_state.connections) <= 1 and open_files() <= files)


def open_files() -> int:
    """Of this process, in which server and client run."""
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0


def soon(true) -> bool:
    """Whether something comes true within ten seconds."""
    end = time.monotonic() + 10
    while not (now := true()) and time.monotonic() < end:
        time.sleep(0.02)
    return now


@pytest.fixture
def live(tmp_path, pool):
    jobs = Jobs(tmp_path / "jobs", pool, (), 50, 600)
    app = create_app(ServeConfig(page=False), (), jobs)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    assert soon(lambda: server.started)
    live = Live(server, jobs)
    live.client.get("/healthz")
    yield live
    live.client.close()
    pool.go.set()
    server.should_exit = True
    thread.join(30)
    assert not thread.is_alive()


@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_leaves_while_it_uploads_leaves_nothing(live, reset):
    files = open_files()
    for _ in range(5):
        connection = live.connect("jobs", 5_000_000)
        connection.sendall(PART + PNG + bytes(2_000_000))  # beyond what is held in memory
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connection.close()
    assert live.settles(files)
    assert list(live.jobs.root.iterdir()) == []
    assert live.post(PNG).status_code == 202


def test_a_client_that_leaves_while_it_downloads_harms_no_other(live):
    content = PNG + bytes(range(90)) * 330_000
    id = live.post(content).json()["id"]
    assert live.jobs.wait(id, 20).status == "done"
    files = open_files()
    for _ in range(5):
        with live.client.stream("GET", f"/v1/jobs/{id}/result") as answer:
            next(answer.iter_bytes(1000))
    assert live.settles(files)
    assert live.client.get(f"/v1/jobs/{id}/result").content == content


def test_a_client_that_leaves_while_it_waits_ends_the_work(live):
    files = open_files()
    connection = live.connect("restore", len(PART) + len(PNG) + 4 + 9)
    connection.sendall(PART + PNG + b"wait" + b"\r\n--x--\r\n")
    assert soon(lambda: live.jobs.counts()["running"] == 1)
    connection.close()
    assert soon(lambda: list(live.jobs.root.iterdir()) == [])
    assert live.settles(files)
    assert live.post(PNG, "restore").status_code == 200


def test_a_client_that_leaves_the_events_leaves_the_job(live, pool):
    id, files = live.post(PNG + b"wait").json()["id"], open_files()
    for _ in range(5):
        with live.client.stream("GET", f"/v1/jobs/{id}/events") as answer:
            next(answer.iter_lines())
    assert live.settles(files)
    pool.go.set()
    assert live.jobs.wait(id, 20).status == "done"


def test_events_tell_the_progress_while_the_job_runs(live, pool):
    id = live.post(PNG + b"wait").json()["id"]
    threading.Timer(2, pool.go.set).start()
    with live.client.stream("GET", f"/v1/jobs/{id}/events") as answer:
        lines = [(pool.go.is_set(), line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]
    told = [(late, e["status"], e["progress"]["done"]) for late, e in ((late, json.loads(e)) for late, e in lines)]
    assert (False, "running", 1) in told
    assert told[-1] == (True, "done", 1)


def test_slow_clients_hold_up_nobody(live):
    slow = [live.connect("jobs", 10_000) for _ in range(60)]  # more than there are threads
    for connection in slow:
        connection.sendall(PART[:20])
    begun = time.monotonic()
    assert live.client.get("/healthz").status_code == 200
    assert live.post(PNG, "restore").status_code == 200
    assert time.monotonic() - begun < 5
    for connection in slow:
        connection.close()


def test_an_upload_that_stops_is_ended(live, monkeypatch):
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.5)
    connection = live.connect("jobs", 10_000)
    for byte in PART[:10]:  # slow, but going on
        connection.sendall(bytes([byte]))
        time.sleep(0.1)
    begun, answer = time.monotonic(), b""
    while more := connection.recv(4096):
        answer += more
    assert 0.3 < time.monotonic() - begun < 5
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"send it again" in answer


def test_a_job_that_waits_outlives_the_time_of_an_upload(live, pool, monkeypatch):
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.2)
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(live.post, PNG + b"wait", "restore")
        time.sleep(1)
        pool.go.set()
        assert answer.result(20).status_code == 200


@pytest.mark.parametrize("place", ["starlette.datastructures.UploadFile.write", "shutil.copyfileobj"])
def test_a_full_disk_is_507_and_leaves_nothing(live, monkeypatch, place):
    def full(*args, **more):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(place, full)
        answer = live.post(PNG + bytes(2_000_000))
    assert (answer.status_code, "no room" in answer.json()["detail"]) == (507, True)
    assert list(live.jobs.root.iterdir()) == []
    assert live.post(PNG).status_code == 202


def test_a_result_that_finds_no_room_is_a_failed_job(live, pool, monkeypatch):
    def full(ticket):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(pool, "_work", full)
        id = live.post(PNG).json()["id"]
        assert live.jobs.wait(id, 20).status == "failed"
    assert "No space left" in live.client.get(f"/v1/jobs/{id}").json()["error"]
    assert live.post(PNG, "restore").status_code == 200


def test_a_request_is_one_line_of_the_log(live):
    log, logger = io.StringIO(), logging.getLogger("likeness.web.access")
    handler = logging.StreamHandler(log)
    handler.setFormatter(guard.JsonFormatter())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        live.client.get("/v1/jobs/x?key=secret", headers={"X-Request-ID": "abc-1", "Authorization": "Bearer secret"})
        assert soon(lambda: "abc-1" in log.getvalue())  # written after the answer
    finally:
        logger.removeHandler(handler)
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    (line,) = [line for line in lines if line["request"] == "abc-1"]
    assert (line["message"], line["status"]) == ("GET /v1/jobs/x", 404)
    assert line["ms"] > 0
    assert "secret" not in log.getvalue()
