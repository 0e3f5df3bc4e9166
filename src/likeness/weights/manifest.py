"""Which files are released with the package, and where they lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from likeness.errors import WeightsError


@dataclass(frozen=True)
class Released:
    """One released file.

    Attributes:
        file: name inside the weights folder.
        what: one line.
        weights_licence: of the weights; they inherit their data's terms.
    """

    file: str
    what: str
    weights_licence: str


RELEASED: Mapping[str, Released] = {
    "expert_f": Released("expert_f.safetensors", "Expert-F, the frequency expert", "non-commercial research"),
    "prior": Released("prior.safetensors", "the codebook prior of faces", "non-commercial research"),
    "expert_t": Released("expert_t.safetensors", "Expert-T, the token transformer", "non-commercial research"),
    "srnet": Released("srnet.safetensors", "SRNet, the plain baseline of the tables", "non-commercial research"),
    "gate": Released("gate.safetensors", "the gate between the experts", "non-commercial research"),
    "obstructions": Released(
        "obstructions.safetensors", "the network that marks what lies over a face", "non-commercial research"
    ),
    "calibration": Released("calibration.json", "bounds of the guard and of the router", "MIT"),
    "int8": Released("int8.json", "ranges of the experts' activations, for int8", "MIT"),
    "quality": Released("quality.json", "the fit of the quality of a face", "MIT"),
}


def asset_dir(installed: str, checkout: str) -> Path:
    """A folder that goes with the package: `installed` inside of it, or `checkout` of a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "_assets" / installed
    return inside if inside.is_dir() else package.parents[1] / checkout


def weights_dir() -> Path:
    """The folder of the released files: inside the installed package, or `data/weights` of a checkout."""
    return asset_dir("weights", "data/weights")


def released(name: str) -> Path:
    """Path of a released file.

    Raises:
        WeightsError: if the name is unknown or the file is not there.
    """
    if name not in RELEASED:
        raise WeightsError(
            f"weights: nothing is released as {name!r}, only {', '.join(RELEASED)}; train it, or give a file of yours"
        )
    file = weights_dir() / RELEASED[name].file
    if not file.is_file():
        raise WeightsError(
            f"weights: {file} is missing ({RELEASED[name].what}); reinstall the package, or give your own file"
        )
    return file


def under_expert_t(expert_t: str, expert_f: str) -> Path:
    """The Expert-F that Expert-T builds on: the given one if an Expert-T is given too, else the released one.

    The released Expert-T works only with the features of the Expert-F that it was trained with.

    Args:
        expert_t, expert_f: the files named, empty = released.
    """
    return Path(expert_f) if expert_t and expert_f else released("expert_f")
