"""A small aligned face set and networks that need no weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch.nn.functional as F
from hydra.core.config_store import ConfigStore
from PIL import Image
from skimage.data import astronaut
from skimage.filters import gaussian

from likeness.evaluation.config import EvaluateConfig
from likeness.evaluation.protocol.measures import Measures
from likeness.ops import color, geometry
from likeness.types import Faces, Pixels

ConfigStore.instance().store(name="evaluate_options", node=EvaluateConfig)  # as evaluate.py does

ASTRONAUT_POINTS = np.array([(209.0, 106.0), (245.0, 103.0), (231.0, 128.0), (215.0, 147.0), (245.0, 145.0)])
ROWS = (  # file, kind, size, native_px, split
    ("a/real_sharp.png", "real", 512, 600, "val"),
    ("a/real_small.png", "real", 512, 300, "val"),
    ("b/synthetic.png", "synthetic", 512, 512, "val"),
    ("b/synthetic_two.png", "synthetic", 512, 512, "val"),
    ("c/low.png", "real", 256, 400, "val"),
    ("c/trained.png", "real", 512, 600, "train"),
)


class TemplateDetector:
    """Finds the template's face in every frame, moved by how bright the frame is; counts its calls."""

    def __init__(self) -> None:
        self.frames = 0

    def detect(self, frames: Sequence[Pixels]) -> list[Faces]:
        """One face a frame."""
        self.frames += len(frames)
        return [self._face(frame) for frame in frames]

    def doubt(self, pixels: Pixels, face: Faces, doubted: bool = False) -> str:
        """None."""
        return ""

    def _face(self, frame: Pixels) -> Faces:
        points = geometry.template(frame.shape[0]) + frame.mean() / 255
        box = np.concatenate((points.min(0), points.max(0)))
        return Faces(box[None].astype(np.float32), np.ones(1, np.float32), points[None].astype(np.float32))


@pytest.fixture(scope="session")
def aligned() -> Pixels:
    """The astronaut's face, FFHQ-aligned, (512, 512, 3) uint8."""
    image = color.to_float(astronaut())
    return color.to_integer(geometry.warp(image, geometry.similarity(ASTRONAUT_POINTS, 512), (512, 512)))


@pytest.fixture(scope="session")
def faces_root(aligned: Pixels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with `faces/` like the one that training reads."""
    root = tmp_path_factory.mktemp("data")
    header = "file,set,kind,group,size,native_px,laplacian_256,split,source_md5"
    lines = [header]
    for i, (file, kind, size, native, split) in enumerate(ROWS):
        picture = np.roll(gaussian(aligned, i / 2, channel_axis=2), 3 * i, axis=1)
        target = root / "faces" / file
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(color.to_integer(picture)).resize((size, size), Image.Resampling.BOX).save(target)
        lines.append(f"{file},{file[0]},{kind},,{size},{native},0,{split},x")
    (root / "faces" / "manifest.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="session")
def measures() -> Measures:
    """Measures without weights: a coarse mean as embedding, no LPIPS, no judge."""
    return Measures(lambda x: F.adaptive_avg_pool2d(x, 4).flatten(1), TemplateDetector(), None, None)
