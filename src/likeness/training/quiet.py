"""Takes known, harmless noise out of a training's output; the entry point calls it, the library never does.

What is left out: Lightning's advertisements (they tell a user nothing about the run), and a
deprecation inside Lightning's own use of torch's pytree, which only a newer Lightning can mend.
Everything else stays, so that a new warning is seen.
"""

from __future__ import annotations

import logging
import warnings


def _is_no_advertisement(record: logging.LogRecord) -> bool:
    return "Tip: For seamless cloud" not in record.getMessage()


def quiet() -> None:
    """Installs the filters; calling it again changes nothing."""
    warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_no_advertisement)
