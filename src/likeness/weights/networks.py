"""The networks that this package trains, by name, and how one is built with its weights in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import nn

from likeness.errors import WeightsError
from likeness.nets.expert_f import ExpertF, ExpertFConfig
from likeness.nets.expert_t import ExpertT
from likeness.nets.expert_t_data import ExpertTConfig
from likeness.nets.gate import Gate, GateConfig
from likeness.nets.obstructions import ObstructionNet, ObstructionNetConfig
from likeness.nets.prior import Prior, PriorConfig
from likeness.nets.srnet import SRNet, SRNetConfig
from likeness.weights.files import load_into, load_weights
from likeness.weights.manifest import released


class Kind(NamedTuple):
    """One kind of network: how it is built from its size, and the dataclass that states the size."""

    make: Callable[[Any], nn.Module]
    config: type[Any]


NETWORKS: Mapping[str, Kind] = {
    "expert_f": Kind(ExpertF, ExpertFConfig),
    "expert_t": Kind(ExpertT, ExpertTConfig),
    "gate": Kind(Gate, GateConfig),
    "obstructions": Kind(ObstructionNet, ObstructionNetConfig),
    "prior": Kind(Prior, PriorConfig),
    "srnet": Kind(SRNet, SRNetConfig),
}


# Options that no longer exist, with the value that all networks have now; released weight files state them.
REMOVED_OPTIONS = {"wavelets": True, "split": True, "codebook": True, "filtered": False}


def plain_config(values: Mapping[str, Any]) -> dict[str, Any]:
    """A stored size as keywords: JSON has lists where the dataclasses have tuples.

    Raises:
        WeightsError: if a removed option has another value than all networks have now.
    """
    for name, value in REMOVED_OPTIONS.items():
        if values.get(name, value) != value:
            raise WeightsError(f"weights: {name}={values[name]} is no longer supported, expected {value}; train again")
    return {
        name: tuple(value) if isinstance(value, list | tuple) else value
        for name, value in values.items()
        if name not in REMOVED_OPTIONS
    }


def load_network(name: str, path: Path | str | None = None) -> tuple[nn.Module, str]:
    """A network with the released weights, or those of `path`, and the file's SHA-256.

    Raises:
        WeightsError: if the file is missing or does not fit.
    """
    source = Path(path) if path else released(name)
    file = load_weights(source, name)
    kind = NETWORKS[name]
    net = kind.make(kind.config(**plain_config(file.config)))
    load_into(net, file, source)
    return net, file.sha256


def load_prior(path: Path | str | None = None, device: torch.device | str = "cpu") -> tuple[Prior, str]:
    """The prior, frozen, on `device`, and the file's SHA-256.

    Raises:
        WeightsError: if the file is missing or does not fit.
    """
    net, sha256 = load_network("prior", path)
    net = net.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return cast(Prior, net.eval().requires_grad_(False)), sha256
