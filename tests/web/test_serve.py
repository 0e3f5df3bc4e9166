"""`likeness serve` as a process: the token end to end, its log, and its end while a job runs."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

import likeness
from likeness.errors import ConfigError

TOKEN = "a-token-for-the-test"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def serve(folder: Path, *words: str, token: str = TOKEN) -> subprocess.Popen[bytes]:
    """The command, its log in `folder`/log."""
    environment = os.environ | {"PYTHONPATH": str(Path(likeness.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    environment["LIKENESS_TOKEN"] = token
    command = [sys.executable, "-m", "likeness.cli", "serve", "device=cpu", "background.name=lanczos", *words]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(command, env=environment, stderr=log)


def wait_for(process: subprocess.Popen[bytes], client: httpx.Client, path: str = "/readyz") -> None:
    """Until the server answers 200."""
    for _ in range(600):
        try:
            if client.get(path).status_code == 200:
                return
        except httpx.TransportError:
            assert process.poll() is None, "the server ended"
        time.sleep(0.2)
    pytest.fail("the server did not become ready in two minutes")


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def picture() -> bytes:
    """A green PNG."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (9, 99, 9)).save(buffer, "PNG")
    return buffer.getvalue()


def moving(count: int) -> bytes:
    """A GIF of grey frames."""
    frames = [Image.fromarray(np.full((96, 128, 3), 60 + n % 120, np.uint8)) for n in range(count)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=40)
    return buffer.getvalue()


def test_an_open_server_is_refused(tmp_path):
    process = serve(tmp_path, "host=0.0.0.0", token="")
    assert process.wait(120) == ConfigError.exit_code
    log = (tmp_path / "log").read_text()
    assert log.startswith("error: host: got 0.0.0.0 without a token")
    assert "set LIKENESS_TOKEN, or give insecure=true" in log


def test_the_token_from_the_login_to_the_end(tmp_path, port):
    jobs = tmp_path / "jobs"
    process = serve(tmp_path, "host=0.0.0.0", f"port={port}", f"jobs={jobs}")
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        try:
            wait_for(process, client)
            check_the_api(client)
            check_the_page(client)
            id = client.post("/v1/jobs", files={"file": ("a.gif", moving(3000))}, headers=BEARER).json()["id"]
            check_the_end(process, client, id)
        finally:
            process.kill()
            process.wait()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert all({"time", "level", "logger", "message", "request"} <= line.keys() for line in lines)
    assert {"request": "my-id", "status": 401}.items() <= next(x for x in lines if x["request"] == "my-id").items()
    assert TOKEN not in (tmp_path / "log").read_text()
    assert json.loads((jobs / id / "job.json").read_text())["status"] == "running"  # the next server goes on with it


def check_the_api(client: httpx.Client) -> None:
    """Without the token 401, with it a result."""
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}, {"Authorization": "Basic eDp5"}):
        assert client.post("/v1/restore", files={"file": b""}, headers=headers).status_code == 401
    assert client.get("/v1/jobs/x", headers={"X-Request-ID": "my-id"}).status_code == 401
    answer = client.post("/v1/restore", files={"file": ("a.png", picture())}, headers=BEARER)
    assert answer.status_code == 200
    assert Image.open(io.BytesIO(answer.content)).size == (128, 128)


def check_the_page(client: httpx.Client) -> None:
    """The page's parts need the login, which any name passes with the token alone."""
    parts = ("/config", "/gradio_api/info", "/gradio_api/upload")
    files = {"files": ("a.png", b"x")}

    def codes(other: httpx.Client) -> list[int]:
        answers = [other.get("/config"), other.get("/gradio_api/info")]
        return [answer.status_code for answer in [*answers, other.post("/gradio_api/upload", files=files)]]

    assert codes(client) == [401] * len(parts)
    assert client.post("/login", data={"username": "me", "password": "wrong"}).status_code == 400
    assert codes(client) == [401] * len(parts)
    with httpx.Client(base_url=client.base_url, timeout=60) as person:
        assert person.post("/login", data={"username": "me", "password": TOKEN}).status_code == 200
        assert codes(person) == [200] * len(parts)
        assert person.get("/v1/jobs/x").status_code == 401  # the cookie is the page's alone
    assert codes(client) == [401] * len(parts)


def check_the_end(process: subprocess.Popen[bytes], client: httpx.Client, id: str) -> None:
    """SIGTERM while a job runs and a client follows it: the client's stream ends, and the server within its time."""
    seen = list[str]()

    def follow() -> None:
        with (
            contextlib.suppress(httpx.TransportError),  # the stream is cut off
            client.stream("GET", f"/v1/jobs/{id}/events", headers=BEARER) as events,
        ):
            for line in events.iter_lines():
                seen.append(line)

    def restore() -> None:
        with contextlib.suppress(httpx.TransportError):  # it waits behind the job, and is cut off or told
            answer = client.post("/v1/restore", files={"file": ("a.png", picture())}, headers=BEARER)
            assert answer.status_code != 200

    threads = ThreadPoolExecutor(2)
    clients = [threads.submit(follow), threads.submit(restore)]
    while client.get("/healthz").status_code == 200 and not any('"status":"running"' in line for line in list(seen)):
        time.sleep(0.05)
    while 'likeness_jobs{status="pending"} 1.0' not in client.get("/metrics", headers=BEARER).text:
        time.sleep(0.05)
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) in (0, -signal.SIGTERM)  # uvicorn raises the signal again after its end
    assert time.monotonic() - begun < 15
    for waiting in clients:
        waiting.result(10)
