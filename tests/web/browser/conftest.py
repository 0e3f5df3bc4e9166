"""A server with real networks and a real browser, whose camera films a face.

`make test-web` installs the browser and runs these tests. LIKENESS_SHOTS=DIR keeps screenshots; docs/page.webp is one.
"""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

import likeness
from likeness.tasks.clips import moving, write_clip

BROWSER = shutil.which("chromium")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
WAIT = 90_000  # milliseconds
OWNER = {"device": "cpu", "background.name": "lanczos"}


def pytest_collection_modifyitems(items):
    marks = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no chromium; see make test-web")]
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for mark in marks:
                item.add_marker(mark)


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    """Of a server of its own process, with one worker."""
    with serving(tmp_path_factory.mktemp("server")) as url:
        yield url


@contextmanager
def serving(folder: Path, **environment: str) -> Iterator[str]:
    """The address of a server with one worker; its jobs and its log lie in `folder`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [f"port={port}", f"jobs={folder / 'jobs'}", *(f"{k}={v}" for k, v in OWNER.items())]
    environment = (
        os.environ | {"PYTHONPATH": str(Path(likeness.__file__).parents[1]), "OMP_NUM_THREADS": "1"} | environment
    )
    log = (folder / "server.log").open("w")
    server = subprocess.Popen([sys.executable, "-m", "likeness.cli", "serve", *words], env=environment, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{url}/readyz")
                break
            except OSError:  # nothing listens yet, or 503: no worker is ready
                assert server.poll() is None, Path(log.name).read_text()
                time.sleep(0.5)
        else:
            pytest.fail("the server did not become ready in two minutes")
        yield url
    finally:
        server.terminate()
        server.wait(30)
        log.close()


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    from playwright.sync_api import sync_playwright  # here, so that collecting the tests does not need it

    film = tmp_path_factory.mktemp("camera") / "face.y4m"
    with film.open("wb") as file:
        file.write(b"YUV4MPEG2 W320 H240 F10:1 Ip C420jpeg\n")
        for frame in moving(20, (320, 240), 90.0):
            file.write(b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420).tobytes())
    arguments = [*QUIET, *CAMERA, f"--use-file-for-fake-video-capture={film}"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, address):
    """`visit(**options)`: a page of a person of their own; no request may go to another host."""
    requests, errors, contexts = [], [], []

    def open_page(**options):
        contexts.append(browser.new_context(accept_downloads=True, **options))
        page = contexts[-1].new_page()
        page.set_default_timeout(WAIT)
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: errors.append(error))
        page.goto(address)
        page.wait_for_selector("#lk-go")
        return page

    yield open_page
    for context in contexts:
        context.close()
    foreign = [url for url in requests if urlsplit(url).scheme not in ("data", "blob")
               and urlsplit(url).netloc != urlsplit(address).netloc]  # fmt: skip
    assert len(requests) > 10
    assert foreign == []
    assert errors == []


@pytest.fixture(scope="session")
def people(tmp_path_factory) -> Path:
    """A photo with one face of 84 px and one of 27 px."""
    path = tmp_path_factory.mktemp("in") / "family.png"
    face = astronaut()[:224, 110:334]
    small = np.asarray(Image.fromarray(face).resize((72, 72), Image.Resampling.LANCZOS))
    picture = np.full((224, 320, 3), 120, np.uint8)
    picture[:, :224], picture[80:152, 236:308] = face, small
    Image.fromarray(picture).save(path)
    return path


@pytest.fixture(scope="session")
def person(tmp_path_factory) -> Path:
    """A photo with one face."""
    path = tmp_path_factory.mktemp("in") / "other.png"
    Image.fromarray(np.ascontiguousarray(astronaut()[:224, 110:334])).save(path)
    return path


@pytest.fixture(scope="session")
def film(tmp_path_factory) -> Path:
    """Twelve frames with one face, and sound."""
    path = tmp_path_factory.mktemp("in") / "film.mp4"
    write_clip(path, moving(12, (256, 224), 90.0), 20, 12)
    return path


@pytest.fixture(scope="session")
def by_infer(people, film, tmp_path_factory):
    """What infer.py writes for `people` and `film`."""
    folder, root = tmp_path_factory.mktemp("infer"), Path(likeness.__file__).parents[2]
    words = [f"input={people}", f"input={film}", f"output={folder}", *(f"{k}={v}" for k, v in OWNER.items())]
    environment = os.environ | {"PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, root / "infer.py", *words], env=environment, cwd=folder, check=True)
    return {source: folder / source.stem / source.name for source in (people, film)}


def shoot(page, name):
    """Keeps a screenshot where LIKENESS_SHOTS says so."""
    if folder := os.environ.get("LIKENESS_SHOTS"):
        Image.open(io.BytesIO(page.screenshot(full_page=True))).save(Path(folder, f"{name}.webp"), quality=85)


def choose(page, *files):
    """Uploads files and waits until the page lists them."""
    page.set_input_files("#lk-files input[type=file]", [str(f) for f in files])
    page.wait_for_selector(f"#lk-files :text('{files[-1].stem[:5]}')")


def links(page):
    """Addresses of the shown result's downloads."""
    return {a.inner_text(): a.get_attribute("href") for a in page.query_selector_all(".lk-links a")}


def download(page, label) -> Path:
    with page.expect_download() as arriving:
        page.click(f".lk-links a:text-is('{label}')")
    return Path(arriving.value.path())
