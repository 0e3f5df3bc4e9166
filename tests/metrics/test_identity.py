"""Embedding distance and cosine, and the judge if its file is available."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.data import astronaut

from likeness.errors import WeightsError
from likeness.metrics.identity import (
    cosine,
    embedding_distance,
    load_judge,
)


def test_distance_and_cosine_equal_numpy() -> None:
    a, b = (np.random.default_rng(i).normal(size=(4, 128)).astype(np.float32) for i in (0, 1))
    expected = np.linalg.norm(a - b, axis=1)
    np.testing.assert_allclose(embedding_distance(torch.from_numpy(a), torch.from_numpy(b)), expected, rtol=1e-5)
    expected = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(cosine(torch.from_numpy(a), torch.from_numpy(b)), expected, rtol=1e-4, atol=1e-6)


def test_missing_or_bad_judge_is_an_error_that_names_option_or_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LIKENESS_DATA", str(tmp_path))
    with pytest.raises(WeightsError, match="judge=FILE"):
        load_judge()
    (tmp_path / "bad.onnx").write_text("no network")
    with pytest.raises(WeightsError, match=r"bad\.onnx"):
        load_judge(tmp_path / "bad.onnx")


@pytest.mark.data
@pytest.mark.skipif("LIKENESS_DATA" not in os.environ, reason="needs the recogniser in $LIKENESS_DATA/judge")
def test_judge_separates_a_face_from_noise() -> None:
    judge = load_judge()
    face = torch.from_numpy(astronaut().copy()).permute(2, 0, 1)[None, :, :256, 100:356] / 255.0
    soft = torch.nn.functional.avg_pool2d(face, 3, 1, 1)
    one, two, noise = judge.embed_aligned(torch.cat((face, soft, torch.rand_like(face))))
    assert one @ two > 0.8
    assert one @ noise < 0.5
    assert float(one.norm()) == pytest.approx(1, abs=1e-5)
