"""The example client and the guide's curl lines run against a server, with real networks."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
import uvicorn
from PIL import Image
from skimage.data import astronaut

from examples.api_client import restore
from likeness import Restorer
from likeness.pipeline.config import from_overrides
from likeness.scale.local import Pool
from likeness.scale.restoring import Limits
from likeness.web.jobs import Jobs
from likeness.web.serve import ServeConfig, create_app
from likeness.web.work import WebWork

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "api.md"
OWNER = ("device=cpu", "background.name=lanczos")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    pool = Pool(WebWork(from_overrides(OWNER), Limits(pixels=10**6)), 1, 100.0)
    jobs = Jobs(tmp_path_factory.mktemp("jobs"), pool, OWNER, 9, 600.0)
    app = create_app(ServeConfig(page=False), OWNER, jobs)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(60)


@pytest.fixture
def photo(tmp_path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.ascontiguousarray(astronaut()[:224, 110:334])).save(path)
    return path


def test_the_example_client_writes_what_the_library_writes(address, photo, tmp_path):
    with httpx.Client(base_url=address, timeout=100) as client:
        assert restore(client, str(photo), str(tmp_path / "r.png"), upscale=2) == "1 face: 1 restored"
    own = Restorer(**{"device": "cpu", "background.name": "lanczos", "upscale": 2}).file(photo, tmp_path / "own")
    assert (tmp_path / "r.png").read_bytes() == own.outputs["restored"].read_bytes()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_lines_of_the_guide_run(address, photo, tmp_path):
    blocks = re.findall(r"```bash\n(.*?)```", GUIDE.read_text(), re.S)
    lines = "".join(block for block in blocks if "curl" in block).replace("http://127.0.0.1:7860", address)
    done = subprocess.run(["bash", "-euc", lines], cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert '"status":"done"' in done.stdout
    assert (tmp_path / "restored.png").read_bytes() == (tmp_path / "result.png").read_bytes()


def test_a_picture_beyond_the_limit_is_a_failed_job(address, tmp_path):
    Image.new("RGB", (1100, 1100)).save(tmp_path / "large.png")
    with httpx.Client(base_url=address, timeout=100) as client, pytest.raises(SystemExit, match=r"large\.png: claims"):
        restore(client, str(tmp_path / "large.png"), str(tmp_path / "r.png"))
