"""Named sets of options: the Hydra configs of the group `preset`, for who restores without Hydra, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from likeness.errors import ConfigError

DEFAULT = "balanced"


def preset_dir() -> Path:
    """The folder of the presets: inside the installed package, or `configs/preset` of a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "_assets" / "configs" / "preset"
    return inside if inside.is_dir() else package.parents[1] / "configs" / "preset"


def read_preset(name: str) -> Any:
    """The options of a preset, what it does not name left out.

    Raises:
        ConfigError: if there is no such preset.
    """
    found = {file.stem: file for file in sorted(preset_dir().glob("*.yaml"))}
    if name not in found:
        raise ConfigError(f"preset: got {name!r}, expected {', '.join(found)}")
    return OmegaConf.load(found[name])
