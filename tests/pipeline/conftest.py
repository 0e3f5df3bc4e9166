"""A pipeline whose detector and expert are known: fixed landmarks, a sharpening instead of a network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import astronaut

from likeness.ops.geometry import TEMPLATE_512
from likeness.pipeline.config import RestorerConfig
from likeness.pipeline.models import load_models
from likeness.pipeline.state import Models
from likeness.stages.identity import GuardBounds
from likeness.stages.profile import QualityFit
from likeness.stages.route import RouteBounds
from likeness.types import Faces, FloatArray, Pixels, Restored

EYES = float(np.linalg.norm(TEMPLATE_512[1] - TEMPLATE_512[0]))


@dataclass
class StubDetector:
    """Answers with what `script` says of the n-th call (its last entry for ever); counts the calls."""

    script: Sequence[Faces]
    name: str = "stub"
    calls: list[int] = field(default_factory=list)

    def detect(self, frames: Sequence[Pixels]) -> list[Faces]:
        answer = self.script[min(len(self.calls), len(self.script) - 1)]
        self.calls.append(len(frames))
        return [answer for _ in frames]

    def doubt(self, pixels: Pixels, face: Faces, doubted: bool = False) -> str:
        return ""


class StubExpert:
    """Sharpens, or returns a fixed face; 256 to 512."""

    name = "expert_f"
    input_size, output_size, sha256 = 256, 512, hashlib.sha256(b"stub").hexdigest()

    def __init__(self, amount: float = 1.5, face: FloatArray | None = None) -> None:
        self.amount, self.face, self.seen = amount, face, list[int]()

    def restore(self, crops: Sequence[FloatArray], conditions: object = None) -> list[Restored]:
        self.seen.append(len(crops))
        return [Restored(self._one(crop), np.full((64, 64), 0.75, np.float32)) for crop in crops]

    def _one(self, crop: FloatArray) -> FloatArray:
        if self.face is not None:
            return self.face
        large = np.clip(cv2.resize(crop, (512, 512), interpolation=cv2.INTER_CUBIC), 0, 1)
        if self.amount == 0:
            return large
        return np.clip(large + self.amount * (large - cv2.GaussianBlur(large, (0, 0), 4)), 0, 1)


class StubEmbedder(torch.nn.Module):
    """A coarse grey picture as the embedding, 128 numbers; another picture lies far away."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(1, 1)

    def embed_aligned(self, crop: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(crop.mean(1, keepdim=True), (16, 8)).flatten(1) / 4

    def embed_views(self, crop: torch.Tensor) -> torch.Tensor:
        return self.embed_aligned(crop)


def make_face(x: float, y: float, width: float, turn: float = 0.0) -> Faces:
    """A frontal face of the given width (source pixels) about (x, y)."""
    a = np.deg2rad(turn)
    linear = width / (2 * EYES) * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    points = ((TEMPLATE_512 - TEMPLATE_512.mean(0)) @ linear.T + (x, y)).astype(np.float32)
    half = 0.55 * width
    box = np.array([[x - half, y - 1.2 * half, x + half, y + 1.2 * half]], np.float32)
    return Faces(box, np.array([0.99], np.float32), points[None])


def join(*faces: Faces) -> Faces:
    return Faces(*(np.concatenate([getattr(f, n) for f in faces]) for n in ("boxes", "scores", "landmarks")))


@pytest.fixture(scope="session")
def face_at() -> Callable[..., Faces]:
    """`face_at(x, y, width, turn=0)`."""
    return make_face


@pytest.fixture(scope="session")
def together() -> Callable[..., Faces]:
    """Joins faces into one frame's."""
    return join


@pytest.fixture(scope="session")
def stub_detector() -> type[StubDetector]:
    return StubDetector


@pytest.fixture(scope="session")
def stub_expert() -> type[StubExpert]:
    return StubExpert


@pytest.fixture(scope="session")
def make_models() -> Callable[..., Models]:
    """`make_models(*script, expert=..., bound=...)`: networks that are known."""

    def make(*script: Faces, expert: object = None, same: float = 5.0, other: float = 9.0) -> Models:
        embedder = StubEmbedder()
        return Models(
            detector=StubDetector(script or (Faces.empty(),)),
            experts=dict.fromkeys(("expert_f", "expert_t"), expert or StubExpert()),
            embedder=embedder,
            recogniser=embedder,
            guard_bounds=GuardBounds((0.0, 1000.0), (same, same), (other, other)),
            route_bounds=RouteBounds(q_low=80.0, detail_low=4.0, blockiness_high=2.0, noise_high=20.0),
            quality=QualityFit({"sharpness": -0.5}, 2.0),
            hashes={"expert_f": StubExpert.sha256},
        )

    return make


@pytest.fixture(scope="session")
def released() -> Models:
    """The released networks under the default options."""
    return load_models(RestorerConfig())


@pytest.fixture(scope="session")
def scene() -> Pixels:
    """A photograph, (240, 320, 3) uint8, not to be written to."""
    image = np.ascontiguousarray(astronaut()[:240, 60:380])
    image.setflags(write=False)
    return image


@pytest.fixture(scope="session")
def write_clip() -> Callable[..., Path]:
    """`write_clip(path, pictures, seconds=.4)`: H.264 at 25 frames a second with a tone in AAC; returns the path."""

    def write(path: Path, pictures: Sequence[Pixels], seconds: float = 0.4) -> Path:
        with av.open(str(path), "w") as out:
            video = out.add_stream("libx264", rate=25, options={"crf": "10", "preset": "ultrafast"})
            video.height, video.width = pictures[0].shape[:2]
            video.pix_fmt = "yuv420p"
            audio = out.add_stream("aac", rate=44100, layout="mono")
            for picture in pictures:
                out.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            out.mux(video.encode(None))
            tone = (0.2 * np.sin(np.arange(int(44100 * seconds)) * 0.06)).astype(np.float32)
            for start in range(0, len(tone), 1024):
                sound = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], format="fltp", layout="mono")
                sound.sample_rate, sound.pts, sound.time_base = 44100, start, Fraction(1, 44100)
                out.mux(audio.encode(sound))
            out.mux(audio.encode(None))
        return path

    return write


@pytest.fixture
def make_clip(tmp_path: Path, write_clip: Callable[..., Path]) -> Callable[..., Path]:
    """`make_clip(name, pictures, seconds=.4)`: as `write_clip`, in the test's folder."""
    return lambda name, *more, **options: write_clip(tmp_path / name, *more, **options)


@pytest.fixture
def make_gif(tmp_path: Path) -> Callable[..., Path]:
    """`make_gif(name, pictures, delays)`: delays in milliseconds, for ever."""

    def make(name: str, pictures: Sequence[Pixels], delays: Sequence[int]) -> Path:
        path = tmp_path / name
        first, *rest = (Image.fromarray(np.asarray(p)).quantize(64) for p in pictures)
        first.save(path, save_all=True, append_images=rest, duration=list(delays), loop=0)
        return path

    return make
