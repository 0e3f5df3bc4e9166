"""Other people's networks: small random ones, saved to a file, do what the network itself does."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact as SRVGGNetCompact
from spandrel.architectures.RestoreFormer import RestoreFormer

from likeness.errors import WeightsError
from likeness.weights import external
from likeness.weights.external import load_external
from likeness.weights.files import file_hash, read_tensors


@pytest.fixture
def super_resolution(tmp_path):
    """A x2 network with random weights, and its file."""
    torch.manual_seed(0)
    net = SRVGGNetCompact(num_feat=8, num_conv=2, upscale=2).eval()
    file = tmp_path / "compact.safetensors"
    save_file(net.state_dict(), file)
    return net, file


@pytest.fixture
def face_restorer(tmp_path):
    """RestoreFormer in small, in the wrapping in which checkpoints are published."""
    torch.manual_seed(1)
    net = RestoreFormer(n_embed=16, embed_dim=32, ch=32, ch_mult=(1, 1), num_res_blocks=1, z_channels=32).eval()
    file = tmp_path / "restorer.pth"
    torch.save({"params_ema": net.state_dict(), "iteration": 3}, file)
    return net, file


def test_a_super_resolution_network_runs_as_it_is(super_resolution):
    net, file = super_resolution
    found = load_external(file, "background.file")
    x = torch.rand(2, 3, 24, 20, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = net(x).clamp(0, 1)
    assert torch.allclose(found.run(x), expected, atol=1e-6)
    assert (found.scale, found.purpose, found.sha256) == (2, "SR", file_hash(file))


def test_a_face_restorer_works_on_its_own_range(face_restorer):
    net, file = face_restorer
    found = load_external(file, "expert.file")
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected = ((net(x * 2 - 1)[0] + 1) / 2).clamp(0, 1)
    assert torch.allclose(found.run(x), expected, atol=1e-5)
    assert found.purpose == "FaceSR"
    assert expected.std() > 0.01


def test_networks_whose_range_spandrel_leaves_to_us(face_restorer, monkeypatch):
    """GFPGAN and CodeFormer are too large for a test; this one goes both ways and must not tell them apart."""
    _, file = face_restorer
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(4))
    expected = load_external(file, "expert.file").run(x)
    monkeypatch.setattr(external, "_SIGNED", {"RestoreFormer": {}})
    assert torch.allclose(load_external(file, "expert.file").run(x), expected, atol=1e-5)


def broken(tmp_path, kind):
    file = tmp_path / "given.pth"
    if kind == "garbage":
        file.write_bytes(np.random.default_rng(0).bytes(300))
    elif kind == "code in a pickle":
        file.write_bytes(pickle.dumps(print))
    elif kind == "no tensors":
        torch.save({"epoch": 3}, file)
    elif kind == "no network":
        torch.save({"weight": torch.zeros(3)}, file)
    elif kind == "grey":
        torch.save(SRVGGNetCompact(num_in_ch=1, num_out_ch=1, num_feat=8, num_conv=2, upscale=2).state_dict(), file)
    return file


BROKEN = {
    "missing": "does not exist",
    "garbage": "cannot be read",
    "code in a pickle": "cannot be read",
    "no tensors": "holds no tensors",
    "no network": "no network that spandrel can load",
    "grey": "from RGB to RGB",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_files_that_are_no_such_network(kind, tmp_path):
    with pytest.raises(WeightsError, match=BROKEN[kind]) as caught:
        load_external(broken(tmp_path, kind), "expert.file")
    assert "\n" not in str(caught.value)


def test_tensors_are_read_from_either_kind_of_file(super_resolution, tmp_path):
    net, file = super_resolution
    torch.save(net.state_dict(), tmp_path / "plain.pth")
    ours, theirs = read_tensors(file), read_tensors(tmp_path / "plain.pth")
    assert set(ours) == set(theirs) == set(net.state_dict())
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)
