"""Two hundred files with seeded damage: each gives a result or one clear line, none a traceback."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from likeness.errors import LikenessError
from likeness.pipeline.config import from_overrides
from likeness.pipeline.restorer import Restorer

SUFFIXES = ("png", "jpg", "webp", "tif", "avif", "bmp", "gif", "mp4")
EACH = 25  # files of every kind


@pytest.fixture
def intact_files(tmp_path, make_clip, make_gif) -> dict[str, bytes]:
    small = cv2.resize(np.ascontiguousarray(astronaut()[:240, 60:380]), (96, 72), interpolation=cv2.INTER_AREA)
    moving = [np.ascontiguousarray(np.roll(small, i, 1)) for i in range(6)]
    files = {}
    for suffix in SUFFIXES:
        name = f"intact.{suffix}"
        if suffix == "mp4":
            path = make_clip(name, moving)
        elif suffix == "gif":
            path = make_gif(name, moving, [40] * 6)
        else:
            path = tmp_path / name
            Image.fromarray(small).save(path)
        files[suffix] = path.read_bytes()
    return files


def damage(data: bytes, rng: np.random.Generator) -> bytes:
    """Cuts, flips, blanks, repeats or inserts bytes; headers are hit more often than the rest."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        near = min(len(out), 200) if rng.random() < 0.4 else len(out)
        at = int(rng.integers(0, max(1, near)))
        span = int(rng.integers(1, 40))
        kind = rng.integers(0, 5)
        if kind == 0:
            del out[at:]
        elif kind == 1 and out:
            out[min(at, len(out) - 1)] ^= int(rng.integers(1, 256))
        elif kind == 2:
            out[at : at + span] = bytes(min(span, max(0, len(out) - at)))
        elif kind == 3:
            out[at:at] = out[at : at + span]
        else:
            out[at:at] = rng.bytes(span)
    return bytes(out)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_files_end_in_a_result_or_one_line(suffix, intact_files, make_models, face_at, tmp_path):
    restorer = Restorer(from_overrides(["upscale=1", "cards=1", "compare=no"]))
    restorer._models = make_models(face_at(48, 36, 60))
    results, messages = 0, dict[Path, str]()
    for number in range(EACH):
        rng = np.random.default_rng([number, SUFFIXES.index(suffix)])
        source = tmp_path / f"in{number}.{suffix}"
        source.write_bytes(data := damage(intact_files[suffix], rng))
        folder = tmp_path / f"out{number}"
        try:
            result = restorer.file(source, folder)
        except LikenessError as error:
            messages[source] = str(error)
            left = files_in(folder)
        else:
            results += 1
            left = [name for name in files_in(folder) if name.startswith(".likeness-")]
            assert result.outputs["restored"].stat().st_size > 0
        assert left == [], "nothing half-written, and after an error nothing at all"
        assert source.read_bytes() == data
    assert results + len(messages) == EACH
    assert messages, "no damage was noticed"
    assert all(str(source) in line and "\n" not in line for source, line in messages.items())


def files_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else []
