"""The data folder."""

from __future__ import annotations

import os
from pathlib import Path


def data_folder() -> Path | None:
    """The folder that LIKENESS_DATA names; None if the variable is unset or empty."""
    folder = os.environ.get("LIKENESS_DATA")
    return Path(folder) if folder else None
