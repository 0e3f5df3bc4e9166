"""Embedding distance, and the judge on small ONNX networks made here."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.data import astronaut

from likeness.errors import InputError, WeightsError
from likeness.metrics.identity import (
    JUDGE_TEMPLATE,
    IdentityDistance,
    Judge,
    cosine,
    embedding_distance,
    judge_matrix,
    load_judge,
)
from likeness.ops import geometry


def test_distance_and_cosine_are_numpys() -> None:
    a, b = (np.random.default_rng(i).normal(size=(4, 128)).astype(np.float32) for i in (0, 1))
    expected = np.linalg.norm(a - b, axis=1)
    np.testing.assert_allclose(embedding_distance(torch.from_numpy(a), torch.from_numpy(b)), expected, rtol=1e-5)
    expected = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(cosine(torch.from_numpy(a), torch.from_numpy(b)), expected, rtol=1e-4, atol=1e-6)


def test_running_distance_uses_the_embedder_it_is_given() -> None:
    metric = IdentityDistance(lambda x: x.mean((2, 3)))
    metric.update(torch.full((2, 3, 8, 8), 1.0), torch.full((2, 3, 8, 8), 0.0))
    assert metric.compute().item() == pytest.approx(3**0.5)


@pytest.mark.parametrize("size", [256, 512])
def test_judge_matrix_is_the_least_squares_similarity(size: int) -> None:
    source = geometry.template(size)
    # Independent: the four unknowns a, b, tx, ty of x' = a x - b y + tx, y' = b x + a y + ty.
    rows = [row for x, y in source for row in ([x, -y, 1, 0], [y, x, 0, 1])]
    a, b, tx, ty = np.linalg.lstsq(np.array(rows), JUDGE_TEMPLATE.ravel(), rcond=None)[0]
    np.testing.assert_allclose(judge_matrix(size), [[a, -b, tx], [b, a, ty]], atol=1e-9)
    assert np.abs(geometry.transform(judge_matrix(size), source) - JUDGE_TEMPLATE).max() < 3


class _Session:
    """Stands for onnxruntime: three bytes of the picture are the embedding; keeps what it was given."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def get_inputs(self) -> list[object]:
        return [type("Input", (), {"name": "x"})()]

    def run(self, _: None, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.seen.append(feed["x"])
        return [feed["x"][:, :, 40, 30]]


def test_judge_crops_by_the_fixed_similarity_and_adds_the_mirrored_view() -> None:
    crops = torch.from_numpy(astronaut()[None].copy()).permute(0, 3, 1, 2).float() / 255
    session = _Session()
    found = Judge(session, flip=True).embed(crops)  # type: ignore[arg-type]
    image = np.ascontiguousarray(crops[0].permute(1, 2, 0).numpy())
    chip = np.clip(geometry.warp(image, judge_matrix(512), (112, 112)), 0, 1) * 255
    np.testing.assert_allclose(session.seen[0][0].transpose(1, 2, 0), chip, atol=1e-3)
    expected = chip[40, 30] + chip[40, 111 - 30]
    np.testing.assert_allclose(found[0], expected / np.linalg.norm(expected), rtol=1e-5)
    assert len(_plain(crops).seen) == 1
    with pytest.raises(InputError, match="square"):
        Judge(session).embed(crops[..., :-2])  # type: ignore[arg-type]


def _plain(crops: torch.Tensor) -> _Session:
    session = _Session()
    Judge(session, flip=False).embed(crops)  # type: ignore[arg-type]
    return session


def test_load_judge_names_the_option_and_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LIKENESS_DATA", str(tmp_path))
    with pytest.raises(WeightsError, match="judge=FILE"):
        load_judge()
    (tmp_path / "bad.onnx").write_text("no network")
    with pytest.raises(WeightsError, match=r"bad\.onnx"):
        load_judge(tmp_path / "bad.onnx")


@pytest.mark.data
@pytest.mark.skipif("LIKENESS_DATA" not in os.environ, reason="needs the recogniser in $LIKENESS_DATA/judge")
def test_the_judge_at_hand_tells_a_face_from_noise() -> None:
    judge = load_judge()
    face = torch.from_numpy(astronaut().copy()).permute(2, 0, 1)[None, :, :256, 100:356] / 255.0
    soft = torch.nn.functional.avg_pool2d(face, 3, 1, 1)
    one, two, noise = judge.embed(torch.cat((face, soft, torch.rand_like(face))))
    assert one @ two > 0.8
    assert one @ noise < 0.5
    assert float(one.norm()) == pytest.approx(1, abs=1e-5)
