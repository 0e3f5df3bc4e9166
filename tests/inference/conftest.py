"""The commands as a user runs them, with the real networks loaded once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

import likeness
from likeness.pipeline import models as pipeline_models
from likeness.pipeline import restorer as pipeline_restorer
from likeness.pipeline.config import from_overrides
from likeness.pipeline.state import Models

ROOT = Path(__file__).parents[2]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def loaded() -> Models:
    return pipeline_models.load_models(from_overrides(["device=cpu", "background.name=lanczos"]))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, loaded: Models) -> None:
    """All restorers share networks that are loaded once."""
    monkeypatch.setattr(pipeline_restorer, "load_models", lambda config: loaded)


@pytest.fixture
def portrait_file(tmp_path: Path) -> Callable[[str], Path]:
    """`portrait_file(name)`: a photo with one face of 84 px."""

    def make(name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(astronaut()[:224, 110:334])).save(path)
        return path

    return make


@pytest.fixture
def python() -> Run:
    """Runs this interpreter with the package's source on its path."""

    def run(arguments: Sequence[str | Path], cwd: Path, source: Path | None = None, seconds: int = 240) -> object:
        environment = os.environ | {
            "PYTHONPATH": str(source or Path(likeness.__file__).parents[1]), "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    return run  # type: ignore[return-value]
