"""Logging that speaks once: only the first process of a distributed run writes below WARNING."""

from __future__ import annotations

import logging
import os


class _RankZeroFilter(logging.Filter):
    """Drops records below WARNING on every process but the first (torchrun's RANK, SLURM_PROCID)."""

    def filter(self, record: logging.LogRecord) -> bool:
        rank = os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or os.environ.get("LOCAL_RANK") or "0"
        return rank == "0" or record.levelno >= logging.WARNING


def get_logger(name: str) -> logging.Logger:
    """Returns the logger `name`, made rank-aware; handlers and levels stay the application's."""
    logger = logging.getLogger(name)
    if not any(isinstance(f, _RankZeroFilter) for f in logger.filters):
        logger.addFilter(_RankZeroFilter())
    return logger
