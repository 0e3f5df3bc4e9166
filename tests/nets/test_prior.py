"""The prior as a network: what goes where."""

from __future__ import annotations

from copy import deepcopy

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from likeness.data.synthetic_faces import draw_face
from likeness.nets.prior import Prior, PriorConfig, low_band

TINY = PriorConfig(codes=16, code_width=4, heads=2, widths=(12, 8, 8, 4), encoder=(1, 1, 1), decoder=(1, 1, 1))


@pytest.fixture(scope="module")
def faces() -> Tensor:
    pictures = np.stack([draw_face(256, seed) for seed in (1, 2, 3)])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


@pytest.fixture(scope="module")
def net(faces: Tensor) -> Prior:
    torch.manual_seed(0)
    made = Prior(TINY)
    torch.nn.init.normal_(made.decoder.leave256.weight, std=0.1)
    made.train()(faces)  # starts the codes
    return made.eval().requires_grad_(False)


def test_an_untrained_prior_is_its_low_band(faces: Tensor) -> None:
    torch.manual_seed(0)
    found = Prior(TINY).eval()(faces[:1]).image[0].detach().permute(1, 2, 0).numpy()
    small = cv2.resize(faces[0].permute(1, 2, 0).numpy(), (16, 16), interpolation=cv2.INTER_AREA)
    expected = cv2.resize(small, (512, 512), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_stored_codes_give_the_same_image(net: Prior, faces: Tensor) -> None:
    out = net(faces)
    assert out.image.std() > 0.05
    assert out.indices.unique().numel() > 4
    assert torch.equal(net.decode_indices(out.indices, low_band(faces)), out.image)


def test_codes_do_not_carry_colour_and_light(net: Prior, faces: Tensor) -> None:
    """Another tint and another exposure, the same features: they travel beside."""
    # In fp64, since normalisation enlarges rounding where a drawing is flat.
    net, faces = deepcopy(net).double(), faces.double()
    tinted = faces * 0.7 + torch.tensor([0.2, 0.1, 0.0]).view(1, 3, 1, 1)
    plain, low = net.encode(faces * 0.7)
    features, other = net.encode(tinted)
    torch.testing.assert_close(features, plain, atol=1e-6, rtol=0)
    assert (features[0] - features[1]).abs().max() > 0.5
    shift = torch.tensor([0.2, 0.1, 0.0]).view(1, 3, 1, 1).expand(3, 3, 16, 16)
    torch.testing.assert_close(other - low, shift.double(), atol=1e-6, rtol=0)


def test_the_low_band_colours_the_image(net: Prior, faces: Tensor) -> None:
    features, low = net.encode(faces)
    codes = net.codebook.select(net.codebook.nearest(features))
    redder = low + torch.tensor([0.2, 0.0, 0.0]).view(1, 3, 1, 1)
    change = (net.decode(codes, redder) - net.decode(codes, low)).mean((0, 2, 3))
    assert change[0] > 0.15 > change[1:].abs().max()


def test_an_expert_may_change_the_features_at_three_sizes(net: Prior, faces: Tensor) -> None:
    features, low = net.encode(faces)
    codes = net.codebook.select(net.codebook.nearest(features))
    plain = net.decode(codes, low)
    seen = {}

    def watch(size: int, x: Tensor) -> Tensor:
        seen[size] = x.shape[1:]
        return x

    assert torch.equal(net.decode(codes, low, watch), plain)
    assert seen == {32: (12, 32, 32), 64: (8, 64, 64), 128: (8, 128, 128)}
    for size in (32, 64, 128):
        changed = net.decode(codes, low, lambda s, x, at=size: x * 0.5 if s == at else x)  # type: ignore[misc]
        assert (changed - plain).abs().max() > 1e-3, size


def test_each_image_alone(net: Prior, faces: Tensor) -> None:
    together = net(faces).image
    alone = torch.cat([net(face[None]).image for face in faces])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_gradients_reach_the_encoder_through_the_codes(faces: Tensor) -> None:
    torch.manual_seed(0)
    made = Prior(TINY).train()
    torch.nn.init.normal_(made.decoder.leave256.weight, std=0.1)
    made(faces)
    made(faces).image.square().mean().backward()
    gradient = made.encoder.enter128.weight.grad
    assert gradient is not None
    assert gradient.abs().max() > 0


def test_inputs_unchanged(net: Prior, faces: Tensor) -> None:
    before = faces.clone()
    net(faces)
    assert torch.equal(faces, before)


def test_config_round_trip() -> None:
    made = PriorConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in TINY.to_dict().items()})
    assert made == TINY
