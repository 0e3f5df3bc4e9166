"""Weight files: what is saved comes back, and what is wrong is said."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from likeness.errors import LikenessError, OutputError, WeightsError
from likeness.weights.files import file_hash, load_into, load_weights, save_weights

CONFIG = {"widths": [1, 2], "name": "x", "deep": {"a": 0.5}}
NOTES = {"images": 12, "metrics": {"val/cost": 0.25}}


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {"a.weight": torch.randn(3, 4), "a.bias": torch.tensor([0.0, 1e-5, -3.0])}


@pytest.fixture
def file(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    path = tmp_path / "new" / "w.safetensors"
    save_weights(path, "net", CONFIG, tensors, NOTES)
    return path


def test_round_trip(file: Path, tensors: dict[str, torch.Tensor]) -> None:
    loaded = load_weights(file, "net")
    assert loaded.network == "net"
    assert loaded.config == CONFIG
    assert loaded.notes == NOTES
    assert loaded.sha256 == hashlib.sha256(file.read_bytes()).hexdigest() == file_hash(file)
    assert set(loaded.tensors) == set(tensors)
    for name, tensor in tensors.items():
        assert loaded.tensors[name].dtype == torch.float32
        # fp16 has 11 bits: half a unit in the last place, and below 2^-14 a fixed step of 2^-24.
        torch.testing.assert_close(loaded.tensors[name], tensor, rtol=2**-11, atol=2**-25)
        torch.testing.assert_close(loaded.tensors[name], tensor.half().float(), rtol=0, atol=0)


def test_nothing_partial_stays_and_the_input_is_unchanged(file: Path, tensors: dict[str, torch.Tensor]) -> None:
    assert [f.name for f in file.parent.iterdir()] == ["w.safetensors"]
    before = {name: t.clone() for name, t in tensors.items()}
    save_weights(file, "net", CONFIG, tensors, NOTES)  # over an older one
    assert all(torch.equal(tensors[n], before[n]) for n in before)


def test_a_transposed_tensor_is_stored_as_it_looks(tmp_path: Path) -> None:
    tensor = torch.arange(6.0).view(2, 3).T
    save_weights(tmp_path / "w.safetensors", "net", {}, {"t": tensor}, {})
    assert torch.equal(load_weights(tmp_path / "w.safetensors", "net").tensors["t"], tensor)


def damaged(path: Path, what: str) -> None:
    good = path.read_bytes()
    if what == "missing":
        path.unlink()
    elif what == "empty":
        path.write_bytes(b"")
    elif what == "cut":
        path.write_bytes(good[:-5])
    elif what == "not safetensors":
        path.write_bytes(b"PK" + good)
    elif what == "without metadata":
        save_file({"t": torch.zeros(1)}, path)
    elif what == "without config":
        save_file({"t": torch.zeros(1)}, path, metadata={"network": "net"})
    else:
        save_file({"t": torch.zeros(1)}, path, metadata={"network": "net", "config": "{"})


DAMAGE = {
    "missing": "does not exist",
    "empty": "no readable safetensors",
    "cut": "no readable safetensors",
    "not safetensors": "no readable safetensors",
    "without metadata": "holds nothing, expected net",
    "without config": "lacks its network's config",
    "broken config": "lacks its network's config",
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damaged_files_are_named(what: str, file: Path) -> None:
    damaged(file, what)
    with pytest.raises(WeightsError, match=DAMAGE[what]) as error:
        load_weights(file, "net")
    assert str(file) in str(error.value)


def test_weights_of_another_network_are_refused(file: Path) -> None:
    with pytest.raises(WeightsError, match="holds net, expected gate"):
        load_weights(file, "gate")


MISFITS = {"another shape": nn.Linear(4, 2), "another name": nn.Sequential(nn.Linear(4, 3))}


@pytest.mark.parametrize("name", MISFITS)
def test_weights_that_do_not_fit_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, "net", {}, nn.Linear(4, 3).state_dict(), {})
    with pytest.raises(WeightsError, match="does not fit this net"):
        load_into(MISFITS[name], load_weights(path, "net"), path)


def test_weights_that_fit_are_loaded(tmp_path: Path) -> None:
    path, source, target = tmp_path / "w.safetensors", nn.Linear(4, 3), nn.Linear(4, 3)
    save_weights(path, "net", {}, source.state_dict(), {})
    load_into(target, load_weights(path, "net"), path)
    torch.testing.assert_close(target.weight, source.weight.half().float())


@pytest.mark.parametrize("value", [1e6, float("nan"), float("inf")])
def test_what_fp16_cannot_hold_is_refused(value: float, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"bad\.weight hold values that are no finite fp16"):
        save_weights(tmp_path / "w.safetensors", "net", {}, {"bad.weight": torch.tensor([value])}, {})
    assert not list(tmp_path.iterdir())


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, no folder")
    with pytest.raises(OutputError, match="cannot write") as error:
        save_weights(tmp_path / "taken" / "w.safetensors", "net", {}, {"t": torch.zeros(1)}, {})
    assert isinstance(error.value, LikenessError)
