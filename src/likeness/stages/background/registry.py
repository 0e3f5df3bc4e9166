"""The backgrounds to choose from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from likeness.registry import Entry, Registry
from likeness.stages.background.base import Background, BackgroundConfig
from likeness.stages.background.external import external
from likeness.stages.background.lanczos import lanczos
from likeness.weights.external import load_external


@dataclass(frozen=True)
class BackgroundOptions:
    """What a background may need to load: the user's options and the device."""

    config: BackgroundConfig
    device: torch.device


def _external(options: BackgroundOptions) -> Background:
    net = load_external(options.config.file, "background.file", options.device)
    return external(net, options.config.tile)


BACKGROUNDS: Registry[BackgroundOptions, Background] = Registry("background.name")
BACKGROUNDS.add(Entry("lanczos", "pixels and a factor", "enlarged pixels", "nothing", lambda _: lanczos))
BACKGROUNDS.add(
    Entry(
        "external",
        "pixels and a factor",
        "enlarged pixels",
        "its network's",
        _external,
        lambda o: {"background": Path(o.config.file)},
    )
)
