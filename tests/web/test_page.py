"""The page in a real browser: from the upload to the download, which equals what `Restorer.file` writes.

`make test-web` installs the browser and runs it. LIKENESS_SHOTS=DIR keeps screenshots.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

import likeness
from likeness import Restorer

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed; see make test-web")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine; see make test-web"),
]
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
WAIT = 90_000  # milliseconds


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [f"port={port}", f"jobs={tmp_path_factory.mktemp('jobs')}", "device=cpu", "background.name=lanczos"]
    environment = os.environ | {"PYTHONPATH": str(Path(likeness.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    log = (tmp_path_factory.mktemp("log") / "server.log").open("w")
    server = subprocess.Popen([sys.executable, "-m", "likeness.cli", "serve", *words], env=environment, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{url}/readyz")
                break
            except OSError:
                assert server.poll() is None, Path(log.name).read_text()
                time.sleep(0.5)
        else:
            pytest.fail("the server did not become ready in two minutes")
        yield url
    finally:
        server.terminate()
        server.wait(30)
        log.close()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, address):
    """`visit(**options)`: a page of a person of their own; no request may go to another host."""
    requests, contexts = [], []

    def open_page(**options):
        contexts.append(browser.new_context(accept_downloads=True, **options))
        page = contexts[-1].new_page()
        page.set_default_timeout(WAIT)
        page.on("request", lambda request: requests.append(request.url))
        page.goto(address)
        page.wait_for_selector("#lk-go")
        return page

    yield open_page
    for context in contexts:
        context.close()
    foreign = [url for url in requests if urlsplit(url).scheme in ("http", "https", "ws")
               and urlsplit(url).netloc != urlsplit(address).netloc]  # fmt: skip
    assert len(requests) > 10
    assert foreign == []


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    """A photo with one face of 84 px and one of 41 px."""
    path = tmp_path_factory.mktemp("in") / "family.png"
    face = astronaut()[:224, 110:334]
    small = np.asarray(Image.fromarray(face).resize((112, 112), Image.Resampling.LANCZOS))
    picture = np.full((224, 360, 3), 120, np.uint8)
    picture[:, :224], picture[60:172, 236:348] = face, small
    Image.fromarray(picture).save(path)
    return path


def shoot(page, name):
    if folder := os.environ.get("LIKENESS_SHOTS"):
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def restore(page, *files):
    page.set_input_files("#lk-files input[type=file]", [str(f) for f in files])
    page.wait_for_selector(f"#lk-files :text('{files[0].stem[:5]}')")
    page.click("#lk-go")


def links(page):
    return {a.inner_text(): a.get_attribute("href") for a in page.query_selector_all(".lk-links a")}


def test_a_photo_from_upload_to_download(visit, address, people, tmp_path):
    page = visit(color_scheme="light")
    shoot(page, "empty")
    restore(page, people)
    page.wait_for_selector("#lk-slider img")
    assert "1 restored, 1 too small (41 px)" in page.inner_text("#lk-status")
    cards = page.inner_text("#lk-faces")
    assert "still the same person" in cards
    assert "left alone: too small (41 px)" in cards
    handle = page.locator("#lk-slider img").first.bounding_box()
    page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2)
    page.mouse.down()
    page.mouse.move(handle["x"] + handle["width"] / 4, handle["y"] + handle["height"] / 2)
    page.mouse.up()
    shoot(page, "light")
    with page.expect_download() as download:
        page.click("text=Download")
    assert download.value.suggested_filename == "family.png"
    own = Restorer(**{"device": "cpu", "background.name": "lanczos"}).file(people, tmp_path / "own")
    assert Path(download.value.path()).read_bytes() == own.outputs["restored"].read_bytes()
    page.click("#lk-include")
    page.wait_for_selector("#lk-status :text('2 faces: 2 restored')")
    page.wait_for_selector("#lk-results :text('2. family.png')")
    shoot(page, "included")


def test_a_reference_gives_figures(visit, people):
    page = visit(color_scheme="dark")
    page.click("text=More")
    page.set_input_files("#lk-reference input[type=file]", str(people))
    page.wait_for_selector("#lk-reference :text('famil')")
    shoot(page, "more")
    restore(page, people)
    page.wait_for_selector("#lk-figures")
    figures = page.inner_text("#lk-figures")
    assert "PSNR" in figures
    assert "identity" in figures
    shoot(page, "dark")


def test_clips_and_a_broken_file(visit, people, tmp_path):
    gif = tmp_path / "short.gif"
    frames = [Image.open(people).convert("RGB").quantize(64) for _ in range(3)]
    frames[0].save(gif, save_all=True, append_images=frames[1:], duration=80, loop=0)
    broken = tmp_path / "broken.png"
    broken.write_bytes(people.read_bytes()[:3000])
    page = visit(viewport={"width": 390, "height": 844}, color_scheme="light")
    restore(page, gif, broken)
    page.wait_for_selector("img.lk-media")
    assert "damaged or incomplete" in page.inner_text("#lk-status")
    assert "/compare" in page.get_attribute("img.lk-media", "src")
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390
    shoot(page, "phone")


def test_two_people_at_once_see_their_own(visit, people, tmp_path):
    other = tmp_path / "other.png"
    Image.fromarray(np.ascontiguousarray(astronaut()[:224, 110:334])).save(other)
    first, second = visit(), visit()
    restore(first, people)
    restore(second, other)
    for page, name in ((first, "family"), (second, "other")):
        page.wait_for_selector("#lk-slider img")
        status = page.inner_text("#lk-status")
        assert name in status
        assert ("other" if name == "family" else "family") not in status
    assert links(first)["Download"] != links(second)["Download"]
