"""Hostile uploads: each is refused with a sentence, and nothing outside of the jobs' folder is written or read."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from PIL import Image

import likeness

from . import hostile

HERE = Path(__file__).parent
TRACE = re.compile(r"Traceback|File \"|/site-packages/|line \d+")


class Server:
    """A server under `watched.py`, and the folders in which it must leave nothing."""

    def __init__(self, folder: Path) -> None:
        self.jobs, self.home, self.log = folder / "jobs", folder / "home", folder / "log"
        self.jobs.mkdir()
        self.home.mkdir()
        self.secret = folder / "secret.png"
        Image.new("RGB", (64, 64), (1, 2, 3)).save(self.secret)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        paths = f"{Path(likeness.__file__).parents[1]}{os.pathsep}{HERE.parents[1]}"
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.home), "TMPDIR": str(self.home), "PYTHONPATH": paths,
            "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "WATCH_ROOT": str(self.jobs),
            "WATCH_LOG": str(self.log),
        }  # fmt: skip
        words = [f"port={self.port}", f"jobs={self.jobs}", "page=false", "device=cpu", "background.name=lanczos"]
        command = [sys.executable, str(HERE / "watched.py"), *words, *hostile.LIMITS]
        self.process = subprocess.Popen(command, env=environment, cwd=self.home, stderr=subprocess.DEVNULL)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)

    def wait(self) -> None:
        """Until a worker is ready."""
        for _ in range(240):
            try:
                if self.client.get("/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                assert self.process.poll() is None
            time.sleep(0.5)
        pytest.fail("the server did not become ready in two minutes")

    def started(self) -> None:
        """Forgets what it did so far."""
        self.log.write_text("")
        self.before = self.files()
        os.utime(self.secret, (0, time.time()))  # older than its change, so that a read sets it on every file system

    def files(self) -> list[Path]:
        """All that lie in and beside its folders, but in folders of jobs."""
        return sorted([*self.home.parent.glob("*"), *self.home.rglob("*"), *(self.jobs / ".temporary").glob("*")])

    def stop(self) -> None:
        """Ends it."""
        self.client.close()
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("hostile"))
    server.wait()
    server.started()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def nothing_outside(server):
    """After every upload: the server runs, nothing else was read or written, and no refused upload is kept."""
    yield
    assert server.client.get("/healthz").status_code == 200
    assert server.log.read_text() == ""
    assert server.files() == server.before
    assert server.secret.stat().st_atime == 0


def refused(answer: httpx.Response) -> str:
    """Checks that an answer is a 4xx with one sentence, and returns the sentence."""
    assert 400 <= answer.status_code < 500, answer.text
    sentence = answer.json()["detail"]
    assert isinstance(sentence, str)
    assert 10 < len(sentence) < 500
    assert "\n" not in sentence
    assert not TRACE.search(sentence)
    return sentence


@pytest.mark.parametrize("name", hostile.FILES)
def test_files(server, name):
    called, content = hostile.FILES[name]
    content = content if isinstance(content, bytes) else content(server.secret)
    answer = server.client.post("/v1/jobs", files={"file": (called, content)})
    if answer.status_code == 202:  # its first bytes are those of a medium: a worker looks at the rest
        job = answer.json()
        while job["status"] in ("pending", "running"):
            time.sleep(0.02)
            job = server.client.get(f"/v1/jobs/{job['id']}").json()
        assert job["status"] == "failed"
        answer = server.client.get(f"/v1/jobs/{job['id']}/result")
        server.client.delete(f"/v1/jobs/{job['id']}")
    sentence = refused(answer)
    assert str(server.jobs) not in sentence
    assert str(server.secret) not in sentence
    assert [path.name for path in server.jobs.iterdir()] == [".temporary"]


@pytest.mark.parametrize("name", hostile.BODIES)
def test_bodies(server, name):
    headers, body = hostile.BODIES[name]
    refused(server.client.post("/v1/jobs", content=body, headers=headers))
    assert [path.name for path in server.jobs.iterdir()] == [".temporary"]


@pytest.mark.parametrize("name", hostile.OPTIONS)
def test_options(server, name):
    form = {"file": ("a.png", hostile.PNG)}
    refused(server.client.post("/v1/jobs", files=form, data={"options": hostile.OPTIONS[name]}))


@pytest.mark.parametrize("name", hostile.RAW)
def test_requests(server, name):
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        connection.sendall(hostile.RAW[name])
        answer = b""
        while b"\r\n\r\n" not in answer and (more := connection.recv(4096)):
            answer += more
    assert re.match(rb"HTTP/1.1 4\d\d ", answer), answer


def test_the_watch_sees_what_it_should(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("x")
    os.utime(secret, (0, time.time()))
    code = (
        "import watched, os, subprocess, pathlib; pathlib.Path('root/a').write_text('x'); os.remove('root/a')\n"
        "pathlib.Path('b').write_text('x'); os.mkdir('c'); os.rename('b', 'd'); subprocess.run(['true'])\n"
        "pathlib.Path('secret').read_text()"
    )
    (tmp_path / "root").mkdir()
    environment = os.environ | {"PYTHONPATH": str(HERE), "WATCH_ROOT": "root", "WATCH_LOG": "log"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    events = [line.split()[0] for line in (tmp_path / "log").read_text().splitlines()]
    assert events == ["open", "os.mkdir", "os.rename", "os.rename", "subprocess.Popen"]
    assert secret.stat().st_atime > 0, "this file system keeps no time of reading; the tests above miss reads"
    shutil.rmtree(tmp_path / "c")
