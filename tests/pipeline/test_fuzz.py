"""Files with seeded damage, of every kind that is read: each gives a result or one clear line, none a traceback."""

from __future__ import annotations

import io
from pathlib import Path

import av
import cv2
import numpy as np
import pillow_heif
import pytest
from PIL import Image
from skimage.data import astronaut

from likeness.errors import LikenessError, UnexpectedError
from likeness.pipeline.config import from_overrides
from likeness.pipeline.restorer import Restorer

STILLS = {
    "png": {}, "jpg": {"xmp": b"<x:xmpmeta/>", "comment": b"words"}, "webp": {}, "tif": {"tiffinfo": {700: b"<x/>"}},
    "avif": {}, "bmp": {}, "jp2": {}, "ppm": {},
}  # fmt: skip
ANIMATIONS = {"apng": "PNG", "webp animated": "WEBP", "avif animated": "AVIF", "tif pages": "TIFF"}
CLIPS = {
    "mp4": "libx264", "mkv": "libx264", "webm": "libvpx-vp9", "mov": "mjpeg", "avi": "mpeg4", "ts": "mpeg2video",
}  # fmt: skip
KINDS = (*STILLS, "heic", "gif", *ANIMATIONS, *CLIPS)
FEW, MANY = 3, 100  # files of each of the twenty kinds


def intact(kind: str, folder: Path) -> bytes:
    """A small file with a face, of 96 x 72 pixels; clips and animations have three frames."""
    small = cv2.resize(np.ascontiguousarray(astronaut()[:240, 60:380]), (96, 72), interpolation=cv2.INTER_AREA)
    moving = [np.ascontiguousarray(np.roll(small, i, 1)) for i in range(3)]
    images = [Image.fromarray(pixels) for pixels in moving]
    path, stored = folder / f"intact.{kind}", io.BytesIO()
    if kind in STILLS:
        images[0].save(path, **STILLS[kind])
    elif kind == "heic":
        pillow_heif.from_pillow(images[0]).save(stored)
    elif kind == "gif":
        images[0].save(stored, "GIF", save_all=True, append_images=images[1:], duration=40)
    elif kind in ANIMATIONS:
        images[0].save(stored, ANIMATIONS[kind], save_all=True, append_images=images[1:], duration=40)
    else:
        with av.open(str(path), "w") as container:
            stream = container.add_stream(CLIPS[kind], rate=25)
            stream.width, stream.height = 96, 72
            stream.pix_fmt = "yuvj420p" if kind == "mov" else "yuv420p"
            for pixels in moving:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
            container.mux(stream.encode(None))
    return stored.getvalue() or path.read_bytes()


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
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "numbers", [pytest.param(range(FEW), id="few"), pytest.param(range(FEW, MANY), id="many", marks=pytest.mark.slow)]
)
def test_damaged_files_end_in_a_result_or_one_line(kind, numbers, make_models, face_at, tmp_path):
    restorer = Restorer(from_overrides(["upscale=1", "cards=1", "compare=no"]))
    restorer._models = make_models(face_at(48, 36, 60))
    data, suffix = intact(kind, tmp_path), kind.partition(" ")[0]
    whole = tmp_path / f"whole.{suffix}"
    whole.write_bytes(data)
    assert restorer.file(whole, tmp_path / "whole").outputs["restored"].stat().st_size > 0
    results, messages, unexpected = 0, dict[Path, str](), list[str]()
    for number in numbers:
        rng = np.random.default_rng([number, KINDS.index(kind)])
        source = tmp_path / f"in{number}.{suffix}"
        source.write_bytes(damaged := damage(data, rng))
        folder = tmp_path / f"out{number}"
        try:
            result = restorer.file(source, folder)
        except LikenessError as error:
            unexpected += [f"file {number}: {error}"] if isinstance(error, UnexpectedError) else []
            messages[source] = str(error)
            left = files_in(folder)
        else:
            results += 1
            left = [name for name in files_in(folder) if name.startswith(".likeness-")]
            assert result.outputs["restored"].stat().st_size > 0
        assert left == [], "nothing half-written, and after an error nothing at all"
        assert source.read_bytes() == damaged
    assert unexpected == []
    assert results + len(messages) == len(numbers)
    assert messages or len(numbers) == FEW, "no damage was noticed"
    assert all(str(source) in line and "\n" not in line for source, line in messages.items())


def files_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else []
