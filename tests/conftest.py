"""What tests of all parts share: own media, and the data folder where there is one."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from skimage.data import astronaut

import likeness  # noqa: F401  (mends torchvision before anything imports it)
from likeness.ops.color import to_float, to_integer
from likeness.ops.geometry import similarity, warp
from likeness.types import Pixels

# MTCNN's landmarks of scikit-image's astronaut, to a tenth of a pixel.
ASTRONAUT = np.array([(204.7, 100.5), (248.0, 104.0), (224.9, 129.4), (201.7, 138.8), (245.5, 142.6)])


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    # The pictures are tiny: threads would only wait for one another, and sums would depend on their number.
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder that LIKENESS_DATA names; tests that use it are marked `data`."""
    root = os.environ.get("LIKENESS_DATA")
    if not root:
        pytest.skip("LIKENESS_DATA is not set: this test reads real faces, which are not part of the repository")
    if not (Path(root) / "faces" / "manifest.csv").is_file():
        pytest.skip(f"LIKENESS_DATA={root} holds no faces/manifest.csv, whose faces this test reads")
    return Path(root)


@pytest.fixture(scope="session")
def astronaut_points() -> np.ndarray:
    """Five landmarks of scikit-image's astronaut, (5, 2)."""
    return ASTRONAUT.copy()


@pytest.fixture(scope="session")
def astronaut_face() -> Pixels:
    """The astronaut's face on the FFHQ template, (512, 512, 3) uint8; it covers 171 source pixels."""
    crop = warp(to_float(astronaut()), similarity(ASTRONAUT, 512), (512, 512))
    face = to_integer(crop)
    face.setflags(write=False)
    return face


@pytest.fixture
def photo() -> np.ndarray:
    """A photograph that no test may change by accident, (512, 512, 3) uint8."""
    image = astronaut()
    image.setflags(write=False)
    return image
