"""The background: the whole picture without its faces, enlarged separately. Its options and contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from likeness.errors import ConfigError
from likeness.types import MediaKind, Pixels

UPSCALES = ("auto", "1", "2", "4")
AUTO_LONG_SIDE = 2000  # photos longer than this are not enlarged by `auto`
WITHOUT_FILE = ("auto", "lanczos", "waifu2x", "realesrgan")

Progress = Callable[[int, int | None], None]  # tiles done, and all tiles


@dataclass
class BackgroundConfig:
    """How the background is enlarged and cleaned.

    Attributes:
        name: auto (waifu2x for poor photos, else lanczos), lanczos (resamples), waifu2x (removes noise and blocks),
            realesrgan (invents texture; slow), or external (a network of the user's).
        strength: 0..1, fraction of the network's picture, the rest is Lanczos; auto's is at most this.
        clips: whether auto runs waifu2x on clips, too; null = on a GPU only.
        file: weights of the external network, anything that spandrel loads.
        tile: edge of the network's tiles in source pixels.
    """

    name: str = "auto"
    strength: float = 1.0
    clips: bool | None = None
    file: str = ""
    tile: int = 256

    def __post_init__(self) -> None:
        if self.name == "external" and not self.file:
            raise ConfigError("background.file: got none with background.name=external; give background.file=FILE")
        if self.name in WITHOUT_FILE and self.file:
            raise ConfigError(f"background.file: got {self.file}, but {self.name} reads none; give background=external")
        if self.tile < 32:
            raise ConfigError(f"background.tile: got {self.tile}, expected at least 32 pixels")
        if not 0 <= self.strength <= 1:
            raise ConfigError(f"background.strength: got {self.strength}, expected 0 to 1")


@dataclass(frozen=True)
class BackgroundPlan:
    """What is done to the background of one file; decided on its first frame.

    Attributes:
        name: lanczos, waifu2x, realesrgan or external.
        reason: for the report.
        strength: 0..1, fraction of the network's picture; 0 with Lanczos.
        noise_level: waifu2x's, 0 to 3; None = its network that only enlarges.
    """

    name: str
    reason: str
    strength: float = 0.0
    noise_level: int | None = None


class Background(Protocol):
    """Enlarges the whole picture; holds no state of any picture, so threads may share it."""

    def plan(self, pixels: Pixels, kind: MediaKind) -> BackgroundPlan:
        """Decides what to do, from the first frame of a file, HWC uint8 or uint16."""
        ...

    def enlarge(self, pixels: Pixels, factor: int, plan: BackgroundPlan, progress: Progress | None = None) -> Pixels:
        """HWC pixels enlarged by 1, 2 or 4; `progress` is told the number of tiles done."""
        ...


def choose_upscale(option: str, kind: str, width: int, height: int) -> int:
    """The factor: as given, or by `auto` 2 for photos up to 2000 px (1 beyond), 1 for videos and GIFs.

    Raises:
        ConfigError: if the option is none of auto, 1, 2, 4.

    Examples:
        >>> choose_upscale("auto", "photo", 1600, 1200), choose_upscale("auto", "photo", 4000, 3000)
        (2, 1)
    """
    if option not in UPSCALES:
        raise ConfigError(f"upscale: got {option!r}, expected auto, 1, 2 or 4")
    if option != "auto":
        return int(option)
    return 2 if kind == "photo" and max(width, height) <= AUTO_LONG_SIDE else 1
