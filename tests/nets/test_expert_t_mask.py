"""Expert-T with masked pixels."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.nets.expert_t import ExpertT
from likeness.nets.expert_t_data import Frozen, Knobs
from likeness.nets.tokens import ContentReader
from likeness.weights.files import WeightFile, load_into
from likeness.weights.networks import load_network
from tests.tiny import TINY, randomised


def some_unknown(count: int) -> Tensor:
    unknown = torch.zeros(count, 1, 256, 256, dtype=torch.bool)
    unknown[..., 96:144, 64:112] = True  # 3 x 3 cells of 16 pixels
    return unknown


def test_empty_mask_changes_nothing(faces: Tensor, frozen: Frozen) -> None:
    net = randomised(TINY)
    with torch.no_grad():
        expected = net(faces, frozen).image
        assert torch.equal(net(faces, frozen, unknown=torch.zeros(len(faces), 1, 256, 256) > 0).image, expected)
        assert not torch.equal(net(faces, frozen, unknown=some_unknown(len(faces))).image, expected)


def test_mask_token_of_weights_without_one_is_zero() -> None:
    """So they restore as before it was added."""
    tensors = randomised(TINY).state_dict()
    del tensors["content.unknown"]
    net = ExpertT(TINY)
    load_into(net, WeightFile("expert_t", TINY.to_dict(), tensors, {}, ""), "here")
    assert not net.state_dict()["content.unknown"].any()
    assert torch.equal(net.state_dict()["content.enter.weight"], tensors["content.enter.weight"])


def test_mask_token_of_released_weights_is_trained() -> None:
    assert load_network("expert_t")[0].state_dict()["content.unknown"].any()


def test_fully_masked_input_has_fidelity_0(faces: Tensor, frozen: Frozen) -> None:
    """Fidelity is 0 in every cell with an unknown pixel, also where the user asks for the input's own look."""
    unknown = some_unknown(len(faces))
    unknown[..., 0, 0] = True  # one pixel is enough for its cell
    with torch.no_grad():
        found = randomised(TINY)(faces, frozen, Knobs(fidelity=1.0), unknown).fidelity
    expected = torch.ones(len(faces), 1, 32, 32)
    expected[..., 12:18, 8:14] = 0
    expected[..., 0, 0] = 0
    assert torch.equal(found, expected)


def test_masked_cells_become_the_learned_token() -> None:
    torch.manual_seed(0)
    reader = ContentReader(6, 12, 2, 4, 1).eval()
    features, unknown = torch.rand(1, 6, 4, 4), torch.zeros(1, 16, dtype=torch.bool)
    unknown[0, 5] = True
    other = features.clone()
    other[0, :, 1, 1] += 1  # cell 5
    with torch.no_grad():
        assert torch.equal(reader(features, unknown), reader(other, unknown))
        assert not torch.equal(reader(features), reader(other))
        shown = reader(features, unknown)
        reader.unknown.add_(1)
        assert not torch.equal(reader(features, unknown), shown)


def test_masked_pixels_do_not_reach_the_decoder(faces: Tensor, frozen: Frozen, monkeypatch: pytest.MonkeyPatch) -> None:
    """The map is interpolated between cells; a neighbour's fidelity must not leak into masked pixels."""
    net, unknown, fidelities = randomised(TINY), some_unknown(len(faces)), {}

    def spy(size: str, transform: torch.nn.Module) -> None:
        forward = transform.forward

        def keep(features: Tensor, source: Tensor, fidelity: Tensor, quality: Tensor) -> Tensor:
            fidelities[int(size)] = fidelity
            return forward(features, source, fidelity, quality)

        monkeypatch.setattr(transform, "forward", keep)

    for size, transform in net.transforms.items():
        spy(size, transform)
    with torch.no_grad():
        net(faces, frozen, Knobs(fidelity=1.0), unknown)
    assert set(fidelities) == {32, 64, 128}
    for size, fidelity in fidelities.items():
        masked = F.max_pool2d(unknown.float(), 256 // size) > 0
        assert not fidelity[masked].any(), size
        assert (fidelity[~masked] > 0).all(), size
