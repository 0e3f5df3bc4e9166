"""The backgrounds to choose from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from likeness.registry import Entry, Registry
from likeness.stages.background.base import Background, BackgroundConfig
from likeness.stages.background.external import Enlarger
from likeness.stages.background.lanczos import Lanczos
from likeness.stages.background.waifu2x import Auto, Waifu2x
from likeness.weights.external import load_external
from likeness.weights.published import REALESRGAN, WAIFU2X, load_realesrgan, load_waifu2x


@dataclass(frozen=True)
class BackgroundOptions:
    """What a background may need to load: the user's options and the device."""

    config: BackgroundConfig
    device: torch.device


def _waifu2x(options: BackgroundOptions) -> Background:
    return Waifu2x({level: load_waifu2x(level, options.device) for level in WAIFU2X}, options.config)


def _auto(options: BackgroundOptions) -> Background:
    return Auto({level: load_waifu2x(level, options.device) for level in WAIFU2X}, options.config)


def _realesrgan(options: BackgroundOptions) -> Background:
    return Enlarger("realesrgan", load_realesrgan(options.device), 4, options.device, options.config)


def _external(options: BackgroundOptions) -> Background:
    net = load_external(options.config.file, "background.file", options.device)
    return Enlarger("external", net.run, net.scale, net.device, options.config)


def _waifu2x_files(_: BackgroundOptions) -> dict[str, Path]:
    return {f"waifu2x_{'up' if level is None else level}": net.binary() for level, net in WAIFU2X.items()}


_READS, _WRITES = "pixels, a factor and a plan", "enlarged pixels"
BACKGROUNDS: Registry[BackgroundOptions, Background] = Registry("background.name")
BACKGROUNDS.add(Entry("auto", _READS, _WRITES, "at most waifu2x's", _auto, _waifu2x_files))
BACKGROUNDS.add(Entry("lanczos", _READS, _WRITES, "nothing", lambda _: Lanczos()))
BACKGROUNDS.add(
    Entry("waifu2x", _READS, _WRITES, "about 13 s a megapixel of input on two cores", _waifu2x, _waifu2x_files)
)
BACKGROUNDS.add(
    Entry("realesrgan", _READS, _WRITES, "about 7 min a megapixel on two cores", _realesrgan,
          lambda _: {"realesrgan": REALESRGAN.binary()})
)  # fmt: skip
BACKGROUNDS.add(
    Entry("external", _READS, _WRITES, "its network's", _external, lambda o: {"background": Path(o.config.file)})
)
