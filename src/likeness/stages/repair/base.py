"""Repair: its options and the contract of an inpainter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from likeness.errors import ConfigError
from likeness.types import Mask, Pixels

Inpainter = Callable[[Pixels, Mask], Pixels]  # HWC uint8 and its unknown pixels (H, W), to a filled picture

# What the network marks in the whole picture, and over a face.
IN_PICTURE = {"scratches": ("damage",), "all": ("damage", "text")}
ON_FACE = {"glasses": ("glasses",), "mask": ("mask",)}
REPAIRS = ("none", *IN_PICTURE, *ON_FACE)  # the other values name a mask's file
PICTURES = (".png", ".bmp", ".tif", ".tiff", ".webp")  # of a mask, stored without loss


@dataclass
class RepairConfig:
    """What is filled in photos.

    Attributes:
        name: none, scratches (cracks, dust and stains too), all (text and stamps too), glasses or mask (removed from
            faces; what lies beneath is invented), or a picture of the photo's size, white where it is to be filled.
        inpainter: fills outside of faces.
    """

    name: str = "none"
    inpainter: str = "biharmonic"

    def __post_init__(self) -> None:
        if self.name not in REPAIRS and Path(self.name).suffix.lower() not in PICTURES:
            raise ConfigError(
                f"repair: got {self.name!r}, expected {', '.join(REPAIRS)}, or a mask ({', '.join(PICTURES)})"
            )

    @property
    def wanted(self) -> bool:
        """Whether anything is filled."""
        return self.name != "none"

    @property
    def in_picture(self) -> tuple[str, ...]:
        """Classes of the network that are filled in the whole picture."""
        return IN_PICTURE.get(self.name, ())

    @property
    def on_face(self) -> tuple[str, ...]:
        """Classes of the network that are removed from faces."""
        return ON_FACE.get(self.name, ())

    @property
    def file(self) -> Path | None:
        """The user's mask."""
        return None if self.name in REPAIRS else Path(self.name)
