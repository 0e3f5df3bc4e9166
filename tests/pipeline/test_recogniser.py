"""The guard with a recogniser of the user's own, and bounds that must be its own too."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from likeness.errors import ConfigError
from likeness.pipeline.config import RestorerConfig, from_overrides
from likeness.pipeline.image import restore_image
from likeness.pipeline.models import load_models
from likeness.pipeline.state import Context
from likeness.stages.identity import GuardBounds
from likeness.weights.files import file_hash
from likeness.weights.manifest import released


class Colour:
    """Embeds a face by its mean colour."""

    def embed_aligned(self, crop):
        return crop.mean((2, 3))

    def embed_views(self, crop):
        return self.embed_aligned(crop)


def test_the_guard_asks_the_recogniser_and_the_record_the_embedder(scene, face_at, make_models, stub_expert):
    red = np.zeros((512, 512, 3), np.float32)
    red[..., 0] = 1
    models = make_models(expert=stub_expert(face=red))
    face = face_at(160, 110, 90)
    free = restore_image(scene, Context(models, RestorerConfig(), "photo", 1), face).faces[0]
    assert free.verdict.verdict == "same"
    bounds = GuardBounds((0.0, 1000.0), (0.1, 0.1), (0.5, 0.5))
    strict = replace(models, recogniser=Colour(), guard_bounds=bounds)
    held = restore_image(scene, Context(strict, RestorerConfig(), "photo", 1), face).faces[0]
    assert held.verdict.verdict == "reduced"
    colour = torch.from_numpy(held.expert_crop.image).mean((0, 1))
    assert held.verdict.distance == pytest.approx(float((colour - torch.tensor([1.0, 0, 0])).norm()), abs=1e-3)
    assert held.distance < free.distance


def calibration(folder: Path, recogniser: str) -> Path:
    fitted = json.loads(released("calibration").read_text())
    fitted["guard"]["recogniser"] = recogniser
    file = folder / "calibration.json"
    file.write_text(json.dumps(fitted))
    return file


@pytest.fixture
def judge(data_root) -> Path:
    return sorted((data_root / "judge").glob("*.onnx"))[0]


@pytest.mark.data
def test_bounds_fitted_for_it_are_taken(judge, tmp_path):
    file = calibration(tmp_path, file_hash(judge))
    models = load_models(from_overrides([f"guard.recogniser={judge}", f"weights.calibration={file}"]))
    assert models.recogniser is not models.embedder
    assert models.hashes["recogniser"] == file_hash(judge)


@pytest.mark.data
def test_bounds_of_another_recogniser_are_refused(judge, tmp_path):
    with pytest.raises(ConfigError, match=r"guard.recogniser: .* holds no bounds for .*calibrate recogniser="):
        load_models(from_overrides([f"guard.recogniser={judge}"]))


def test_bounds_of_a_recogniser_that_is_not_given_are_refused(tmp_path):
    file = calibration(tmp_path, "0" * 64)
    with pytest.raises(ConfigError, match=r"give it as guard\.recogniser=FILE"):
        load_models(from_overrides([f"weights.calibration={file}"]))
