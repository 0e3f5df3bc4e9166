"""Other people's image networks: any architecture that spandrel supports, from the user's file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from likeness.errors import WeightsError
from likeness.weights.files import file_hash, read_tensors

# These two work on [-1, 1], which spandrel 0.4.2 leaves to its caller; all others are called through it.
# GFPGAN draws noise unless told not to: identical frames shall give identical faces.
_SIGNED: dict[str, dict[str, Any]] = {"GFPGAN": {"randomize_noise": False}, "CodeFormer": {}}


@dataclass(frozen=True)
class ExternalNet:
    """A loaded network.

    Attributes:
        run: (B, 3, H, W) in [0, 1] to (B, 3, scale H, scale W) in [0, 1], without gradients.
        architecture: spandrel's name of it.
        purpose: "SR", "FaceSR" or "Restoration".
        scale: by how much it enlarges.
        sha256: of the file.
        device: where it runs.
    """

    run: Callable[[Tensor], Tensor]
    architecture: str
    purpose: str
    scale: int
    sha256: str
    device: torch.device


def load_external(path: Path | str, option: str, device: torch.device | str = "cpu") -> ExternalNet:
    """Recognises the architecture by the tensors' names and builds it.

    Args:
        path: .safetensors or .pth; pickles are read without running their code.
        option: what the user set, for the error message.

    Raises:
        WeightsError: if the file is missing, of no known architecture, or no image-to-image network for RGB.
    """
    # Its registry imports forty architectures; only who asks for one pays.
    import spandrel

    registry = spandrel.MAIN_REGISTRY
    if find_spec("spandrel_extra_arches"):  # CodeFormer and others under non-commercial licences
        import spandrel_extra_arches

        spandrel_extra_arches.install(ignore_duplicates=True)
    tensors = read_tensors(path)
    try:
        descriptor = spandrel.ModelLoader("cpu", registry).load_from_state_dict(dict(tensors))
    except Exception as error:  # architectures raise whatever their constructors do
        reason = str(error).splitlines()[0] if str(error) else "no architecture has these tensors"
        raise WeightsError(f"{option}: {path} is no network that spandrel can load ({reason}); give another") from error
    channels = descriptor.input_channels, descriptor.output_channels
    if not isinstance(descriptor, spandrel.ImageModelDescriptor) or channels != (3, 3):
        raise WeightsError(f"{option}: {path} is a {descriptor.architecture.name}, expected a network from RGB to RGB")
    target = torch.device(device)
    model = descriptor.to(target).eval()
    name = descriptor.architecture.id

    def run(x: Tensor) -> Tensor:
        with torch.inference_mode():
            if name in _SIGNED:
                signed: Tensor = model.model(x * 2 - 1, **_SIGNED[name])[0]
                return ((signed + 1) / 2).clamp(0, 1)
            return torch.cat([model(one[None]) for one in x])

    return ExternalNet(run, str(name), descriptor.purpose, descriptor.scale, file_hash(path), target)
