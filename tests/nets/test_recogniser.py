"""A recogniser in ONNX, on a session that is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.data import astronaut

from likeness.errors import InputError
from likeness.nets.recogniser import ARCFACE_TEMPLATE, OnnxRecogniser, arcface_matrix
from likeness.ops import geometry


@pytest.mark.parametrize("size", [256, 512])
def test_arcface_matrix_is_the_least_squares_similarity(size: int) -> None:
    source = geometry.template(size)
    # Independent: the four unknowns a, b, tx, ty of x' = a x - b y + tx, y' = b x + a y + ty.
    rows = [row for x, y in source for row in ([x, -y, 1, 0], [y, x, 0, 1])]
    a, b, tx, ty = np.linalg.lstsq(np.array(rows), ARCFACE_TEMPLATE.ravel(), rcond=None)[0]
    np.testing.assert_allclose(arcface_matrix(size), [[a, -b, tx], [b, a, ty]], atol=1e-9)
    assert np.abs(geometry.transform(arcface_matrix(size), source) - ARCFACE_TEMPLATE).max() < 3


class _Session:
    """Stands for onnxruntime: three bytes of the picture are the embedding; keeps what it was given."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def get_inputs(self) -> list[object]:
        return [type("Input", (), {"name": "x"})()]

    def run(self, _: None, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.seen.append(feed["x"])
        return [feed["x"][:, :, 40, 30]]


def test_it_crops_by_the_fixed_similarity_and_adds_the_mirrored_view() -> None:
    crops = torch.from_numpy(astronaut()[None].copy()).permute(0, 3, 1, 2).float() / 255
    session = _Session()
    found = OnnxRecogniser(session, flip=True).embed_aligned(crops)  # type: ignore[arg-type]
    image = np.ascontiguousarray(crops[0].permute(1, 2, 0).numpy())
    chip = np.clip(geometry.warp(image, arcface_matrix(512), (112, 112)), 0, 1) * 255
    np.testing.assert_allclose(session.seen[0][0].transpose(1, 2, 0), chip, atol=1e-3)
    expected = chip[40, 30] + chip[40, 111 - 30]
    np.testing.assert_allclose(found[0], expected / np.linalg.norm(expected), rtol=1e-5)
    assert len(_plain(crops).seen) == 1
    with pytest.raises(InputError, match="square"):
        OnnxRecogniser(session).embed_aligned(crops[..., :-2])  # type: ignore[arg-type]


def _plain(crops: torch.Tensor) -> _Session:
    session = _Session()
    OnnxRecogniser(session, flip=False).embed_aligned(crops)  # type: ignore[arg-type]
    return session


def test_views_are_the_mean_of_two_shifts() -> None:
    crops = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    recogniser = OnnxRecogniser(_Session(), flip=False)  # type: ignore[arg-type]
    each = [recogniser.embed_aligned(torch.roll(crops, s, dims=3)) for s in (-4, 4)]
    assert torch.allclose(recogniser.embed_views(crops), (each[0] + each[1]) / 2)
    assert not torch.allclose(each[0], each[1])
