"""The background: everything that is no face, enlarged separately."""

from __future__ import annotations

from dataclasses import dataclass

import cv2

from likeness.errors import ConfigError
from likeness.types import Pixels

UPSCALES = ("auto", "1", "2", "4")
AUTO_LONG_SIDE = 2000  # photos longer than this are not enlarged by `auto`


@dataclass
class BackgroundConfig:
    """How the background is enlarged; "lanczos" is plain resampling and invents nothing."""

    name: str = "lanczos"

    def __post_init__(self) -> None:
        if self.name != "lanczos":
            raise ConfigError(f"background.name: got {self.name!r}, expected lanczos")


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
