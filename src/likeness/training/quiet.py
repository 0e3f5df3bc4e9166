"""Filters known, harmless messages out of a training's output. The entry point calls it, the library does not.

It drops Lightning's advertisements, and a deprecation warning about Lightning's own use of torch's pytree, which only a
newer Lightning can fix. All other messages stay.
"""

from __future__ import annotations

import logging
import warnings


def _is_no_advertisement(record: logging.LogRecord) -> bool:
    return "Tip: For seamless cloud" not in record.getMessage()


def quiet() -> None:
    """Installs the filters; a second call changes nothing."""
    warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_no_advertisement)
