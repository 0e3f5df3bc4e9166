"""Named sets of options: the Hydra configs of the group `preset`, also for those who restore without Hydra."""

from __future__ import annotations

from typing import Any

from omegaconf import OmegaConf

from likeness.errors import ConfigError
from likeness.weights.manifest import asset_dir

DEFAULT = "balanced"


def read_preset(name: str) -> Any:
    """The options of a preset, what it does not name left out.

    Raises:
        ConfigError: if there is no such preset.
    """
    folder = asset_dir("configs/preset", "configs/preset")
    presets = {file.stem: file for file in sorted(folder.glob("*.yaml"))}
    if name not in presets:
        raise ConfigError(f"preset: got {name!r}, expected {', '.join(presets)}")
    return OmegaConf.load(presets[name])
