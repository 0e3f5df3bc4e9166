"""The background: everything that is no face, enlarged separately."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from likeness.errors import ConfigError
from likeness.ops.color import to_float, to_integer
from likeness.ops.tiles import tiled
from likeness.types import FloatArray, Pixels
from likeness.weights.external import ExternalNet

UPSCALES = ("auto", "1", "2", "4")
AUTO_LONG_SIDE = 2000  # photos longer than this are not enlarged by `auto`
MARGIN = 16  # pixels of context around a tile

Background = Callable[[Pixels, int], Pixels]  # HWC pixels and a factor to the enlarged pixels


@dataclass
class BackgroundConfig:
    """How the background is enlarged.

    Attributes:
        name: "lanczos" is plain resampling and invents nothing; "external" runs a network of the user's.
        weights: its file, anything that spandrel can load.
        tile: edge of the pieces in which the network works, in source pixels.
    """

    name: str = "lanczos"
    weights: str = ""
    tile: int = 256

    def __post_init__(self) -> None:
        if self.name not in ("lanczos", "external"):
            raise ConfigError(f"background.name: got {self.name!r}, expected lanczos or external")
        if (self.name == "external") != bool(self.weights):
            raise ConfigError(
                f"background: got name={self.name} and weights={self.weights!r}; an external network needs "
                "background.weights=FILE, lanczos has none"
            )
        if self.tile < 32:
            raise ConfigError(f"background.tile: got {self.tile}, expected at least 32 pixels")


def choose_upscale(option: str, kind: str, width: int, height: int) -> int:
    """The factor: as given, or by `auto` 2 for photos up to 2000 px (1 beyond), 1 for videos and GIFs.

    Raises:
        ConfigError: if the option is none of auto, 1, 2, 4.
    """
    if option not in UPSCALES:
        raise ConfigError(f"upscale: got {option!r}, expected auto, 1, 2 or 4")
    if option != "auto":
        return int(option)
    return 2 if kind == "photo" and max(width, height) <= AUTO_LONG_SIDE else 1


def enlarge(pixels: Pixels, factor: int) -> Pixels:
    """Lanczos enlargement of HWC (or HW) pixels by 1, 2 or 4; factor 1 returns an equal copy."""
    if factor == 1:
        return pixels.copy()
    height, width = pixels.shape[:2]
    return cv2.resize(pixels, (width * factor, height * factor), interpolation=cv2.INTER_LANCZOS4)


def external(net: ExternalNet, tile: int) -> Background:
    """A background that a network enlarges, tile by tile; its own factor is then brought to the one wanted."""

    def one(image: FloatArray) -> FloatArray:
        x = torch.from_numpy(image).permute(2, 0, 1)[None].to(net.device)
        return net.run(x)[0].permute(1, 2, 0).float().cpu().numpy()

    def run(pixels: Pixels, factor: int) -> Pixels:
        made = tiled(to_float(pixels), one, net.scale, tile, MARGIN)
        if net.scale != factor:
            height, width = pixels.shape[:2]
            how = cv2.INTER_AREA if net.scale > factor else cv2.INTER_LANCZOS4
            made = np.asarray(cv2.resize(made, (width * factor, height * factor), interpolation=how), np.float32)
        return to_integer(made, pixels.dtype)

    return run
