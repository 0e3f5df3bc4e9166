"""Weight files: fp16 safetensors that carry their own configuration."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from likeness.errors import OutputError, WeightsError


@dataclass(frozen=True)
class WeightFile:
    """What a weight file holds.

    Attributes:
        network: which network it fits ("expert_f").
        config: constructor arguments of the network.
        tensors: the state, fp32.
        notes: training facts that travel with it.
        sha256: of the file.
    """

    network: str
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    notes: Mapping[str, Any]
    sha256: str


def file_hash(path: Path | str) -> str:
    """sha256 of a file, hexadecimal."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def save_weights(
    path: Path | str, network: str, config: Mapping[str, Any], tensors: Mapping[str, Tensor], notes: Mapping[str, Any]
) -> None:
    """Writes fp16 tensors, with everything needed to build the network again in the metadata.

    Raises:
        WeightsError: if a weight is no finite fp16 number.
        OutputError: if the file cannot be written.
    """
    half = {name: tensor.detach().to("cpu", torch.float16).contiguous() for name, tensor in tensors.items()}
    # Beyond 65504 half precision has no numbers; such a weight would come back as infinity.
    lost = [name for name, tensor in half.items() if not torch.isfinite(tensor).all()]
    if lost:
        raise WeightsError(f"weights: {', '.join(lost)} hold values that are no finite fp16 numbers; train again")
    metadata = {"network": network, "config": json.dumps(dict(config)), "notes": json.dumps(dict(notes))}
    target = Path(path)
    partial = target.with_suffix(".partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        save_file(half, partial, metadata=metadata)
        partial.chmod(0o644)  # it is written readable by its owner alone
        partial.replace(target)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"weights: cannot write {target} ({error}); give another path") from error


def read_tensors(path: Path | str) -> dict[str, Tensor]:
    """Tensors of somebody else's weight file: safetensors, or a PyTorch pickle read without running its code.

    Of a training checkpoint the entry "params_ema", "params" or "state_dict" is taken.

    Raises:
        WeightsError: if it is missing or damaged, or holds no tensors by name.
    """
    file = Path(path)
    if not file.is_file():
        raise WeightsError(f"weights: {file} does not exist; check the path")
    try:
        if file.suffix == ".safetensors":
            return {name: tensor.float() for name, tensor in load_file(file).items()}
        stored = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"weights: {file} cannot be read ({reason}); give safetensors or a plain .pth") from error
    for key in ("params_ema", "params", "state_dict"):
        if isinstance(stored, Mapping) and isinstance(stored.get(key), Mapping):
            stored = stored[key]
    tensors = {k: v.float() for k, v in stored.items() if isinstance(v, Tensor)} if isinstance(stored, Mapping) else {}
    if not tensors:
        raise WeightsError(f"weights: {file} holds no tensors by name; give a network's state")
    return tensors


def load_weights(path: Path | str, network: str) -> WeightFile:
    """Reads a file that `save_weights` wrote.

    Raises:
        WeightsError: if it is missing, damaged, or belongs to another network.
    """
    file = Path(path)
    if not file.is_file():
        raise WeightsError(f"weights: {file} does not exist; train with train.py and export, or give another file")
    try:
        with safe_open(file, "pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name).float() for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"weights: {file} is no readable safetensors file ({error}); get it again") from error
    stored = metadata.get("network", "nothing")
    if stored != network:
        raise WeightsError(f"weights: {file} holds {stored}, expected {network}; give the file of that network")
    try:
        config, notes = json.loads(metadata["config"]), json.loads(metadata.get("notes", "{}"))
    except (KeyError, json.JSONDecodeError) as error:
        raise WeightsError(f"weights: {file} lacks its network's config; export it again") from error
    return WeightFile(network, config, tensors, notes, file_hash(file))


# Parts that networks got after weights of theirs were released; without weights they start without any effect.
ADDED_LATER = frozenset(
    {"content.unknown", *(f"noise{size}.amount.{part}" for size in (128, 256) for part in ("weight", "bias"))}
)


def load_into(net: torch.nn.Module, file: WeightFile, source: Path | str) -> None:
    """Loads the tensors into `net`; WeightsError where names or shapes differ."""
    late = {name: tensor for name, tensor in net.state_dict().items() if name in ADDED_LATER}
    try:
        net.load_state_dict({**late, **file.tensors}, strict=True)
    except RuntimeError as error:
        raise WeightsError(
            f"weights: {source} does not fit this {file.network} ({error}); use its own config"
        ) from error
