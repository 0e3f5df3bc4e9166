"""The background: everything outside the faces, enlarged separately. Its options and contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from likeness.errors import ConfigError
from likeness.types import Pixels

UPSCALES = ("auto", "1", "2", "4")
AUTO_LONG_SIDE = 2000  # photos longer than this are not enlarged by `auto`

Background = Callable[[Pixels, int], Pixels]  # HWC pixels and a factor to the enlarged pixels


@dataclass
class BackgroundConfig:
    """How the background is enlarged.

    Attributes:
        name: "lanczos" resamples and invents nothing; "external" runs a network of the user's.
        file: weights of the external network, anything that spandrel loads.
        tile: edge of the network's tiles in source pixels.
    """

    name: str = "lanczos"
    file: str = ""
    tile: int = 256

    def __post_init__(self) -> None:
        if self.name == "external" and not self.file:
            raise ConfigError("background.file: got none with background.name=external; give background.file=FILE")
        if self.name == "lanczos" and self.file:
            raise ConfigError(f"background.file: got {self.file}, but lanczos has no weights; give background=external")
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
