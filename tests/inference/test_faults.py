"""Faults around a restoration: interrupted, killed, no space, no permission, decompression bombs."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

import likeness
from likeness.errors import InputError, OutputError
from likeness.pipeline.restorer import Restorer

SOURCE = Path(likeness.__file__).parents[1]


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory) -> Path:
    """A moving face in 600 small frames: long enough to be stopped in the middle."""
    path = tmp_path_factory.mktemp("in") / "long.mp4"
    picture = np.ascontiguousarray(astronaut()[:224, 110:334])
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = 224, 224, "yuv420p"
        for i in range(600):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(picture, i % 9, 1), format="rgb24")))
        out.mux(stream.encode(None))
    return path


def started(source: Path, output: Path) -> subprocess.Popen[str]:
    """The command as a process, once it writes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "likeness.cli", "restore", str(source), f"output={output}", "device=cpu"],
        env=os.environ | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A background job of a shell ignores Ctrl-C, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 120
    while not any(p.stat().st_size > 0 for p in output.rglob(".likeness-*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "nothing was written in two minutes"
        time.sleep(0.2)
    return process


@pytest.mark.parametrize("how", ["interrupt", "kill"])
def test_a_video_that_is_stopped_in_the_middle_leaves_no_finished_name(how, long_clip, tmp_path):
    before = long_clip.read_bytes()
    output = tmp_path / "out"
    process = started(long_clip, output)
    process.send_signal(signal.SIGINT if how == "interrupt" else signal.SIGKILL)
    _, stderr = process.communicate(timeout=60)
    left = [p.name for p in output.rglob("*") if p.is_file()]
    if how == "interrupt":
        assert process.returncode == 130
        assert stderr.strip() == "stopped; nothing half-written was left"
        assert left == []
    else:
        # After a kill incomplete files remain, but under hidden names.
        assert all(name.startswith(".likeness-") for name in left)
    assert long_clip.read_bytes() == before


def full_disk(folder: Path, kilobytes: int) -> None:
    """Mounts a small tmpfs; skips the test where that is not allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip(f"mounting a tmpfs is not allowed here: {done.stderr.strip()}")


@pytest.mark.slow  # mounts a file system, which needs root
@pytest.mark.usefixtures("quick")
def test_a_full_disk_is_one_line_and_leaves_nothing(portrait_file, tmp_path):
    source, small = portrait_file("a.png"), tmp_path / "small"
    full_disk(small, 64)
    try:
        with pytest.raises(OutputError, match="free space"):
            Restorer().file(source, small / "out")
        assert [p for p in small.rglob("*") if p.is_file()] == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """No file of this process may grow larger; this stands for a full disk, which only root can mount."""
    resource = pytest.importorskip("resource", reason="Windows has no limit of file sizes")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("quick")
def test_a_limit_of_the_file_size_is_one_line_and_leaves_nothing(portrait_file, tmp_path, capfd):
    source, restorer = portrait_file("a.png"), Restorer(compare="no", cards=0)
    with files_limited_to(60_000), pytest.raises(OutputError, match="cannot be written") as caught:
        restorer.file(source, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""
    assert [p for p in (tmp_path / "out").rglob("*") if p.is_file()] == []


@pytest.mark.usefixtures("quick")
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_one_line(portrait_file, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(OutputError, match="cannot be written"):
        Restorer().file(portrait_file("a.png"), locked / "out")


@pytest.mark.usefixtures("quick")
def test_a_file_where_the_folder_should_be_is_refused_and_kept(portrait_file, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="choose another output"):
        Restorer().file(portrait_file("a.png"), tmp_path / "file" / "out")
    assert (tmp_path / "file").read_text() == "in the way"


def png_bomb(path: Path) -> None:
    """A PNG whose header claims 60000 x 60000 pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))


def gif_bomb(path: Path) -> None:
    """A GIF of 65535 x 65535 pixels in a few bytes."""
    Image.new("P", (1, 1)).save(path)
    data = bytearray(path.read_bytes())
    data[6:10] = struct.pack("<HH", 65535, 65535)
    path.write_bytes(bytes(data))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("make", [png_bomb, gif_bomb])
def test_decompression_bombs_are_not_opened(make, tmp_path):
    source = tmp_path / ("a.gif" if make is gif_bomb else "a.png")
    make(source)
    with pytest.raises(InputError, match="limit for safety"):
        Restorer().file(source, tmp_path / "out")
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


@pytest.mark.usefixtures("quick")
def test_the_input_is_refused_as_output(portrait_file, tmp_path):
    source = portrait_file("a.png")
    before = source.read_bytes()
    with pytest.raises(OutputError, match="never overwritten"):
        Restorer().file(source, source.parent)
    assert source.read_bytes() == before
