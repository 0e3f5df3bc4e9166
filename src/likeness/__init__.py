"""Likeness restores faces in photos, videos and GIFs without changing the person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from likeness import compat as _compat
from likeness.version import __version__

_compat.mend_torchvision()

__all__ = ["Restorer", "__version__"]

if TYPE_CHECKING:
    from likeness.pipeline.restorer import Restorer


def __getattr__(name: str) -> Any:
    # Loaded on first use: importing the package for its metrics or data needs no pipeline.
    if name == "Restorer":
        from likeness.pipeline.restorer import Restorer

        return Restorer
    raise AttributeError(f"module 'likeness' has no attribute {name!r}")
