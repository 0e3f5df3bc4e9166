"""The survey of codes, against counts by numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from experiments.vq_prior.prior_codes import survey
from likeness.data.synthetic_faces import draw_face
from likeness.nets.prior import Prior
from tests.tiny import PRIOR as TINY


@pytest.fixture(scope="module")
def faces() -> Tensor:
    return torch.from_numpy(np.stack([draw_face(256, s) for s in (1, 2)])).permute(0, 3, 1, 2).float() / 255


@pytest.fixture(scope="module")
def prior(faces: Tensor) -> Prior:
    torch.manual_seed(0)
    net = Prior(TINY)
    torch.nn.init.normal_(net.decoder.leave256.weight, std=0.05)
    net.train()(faces)
    return net.eval().requires_grad_(False)


def test_usage_and_distances_are_those_of_every_face(prior: Prior, faces: Tensor) -> None:
    def embed(images: Tensor) -> Tensor:
        return images.mean((2, 3)) * 2

    usage, distances = survey(prior, embed, iter(faces))
    indices = prior(faces).indices.reshape(-1, 2).numpy()
    shares = [np.bincount(indices[:, k], minlength=16) / len(indices) for k in range(2)]
    assert usage.used == pytest.approx(min((s > 0).mean() for s in shares))
    entropies = [-(s[s > 0] * np.log(s[s > 0])).sum() for s in shares]
    assert usage.perplexity == pytest.approx(np.exp(min(entropies)), rel=1e-6)
    images = prior(faces).image.clamp(0, 1)
    small = (images.reshape(2, 3, 256, 2, 256, 2).mean((3, 5)) * 255).round() / 255
    expected = (2 * (small.mean((2, 3)) - faces.mean((2, 3)))).norm(dim=1)
    np.testing.assert_allclose(distances, expected, rtol=1e-3, atol=1e-6)
    assert distances.min() > 0
