"""A W&B logger that never asks for a key."""

from __future__ import annotations

import netrc
import os
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import WandbLogger

from likeness.errors import needs_extra
from likeness.log import get_logger

log = get_logger(__name__)


def has_wandb_key() -> bool:
    """Whether there is a key, in WANDB_API_KEY or in a netrc entry."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return any("wandb" in host for host in netrc.netrc().hosts)
    except (FileNotFoundError, netrc.NetrcParseError):
        return False


def wandb_logger(project: str, save_dir: str, offline: bool | None = None, **options: Any) -> WandbLogger:
    """A W&B logger: online with a key, offline without one. It never prompts.

    Args:
        project: name of the W&B project.
        save_dir: folder of the run's files.
        offline: None = if there is no key.
        options: passed to Lightning's WandbLogger.

    Raises:
        ConfigError: if wandb is not installed.
    """
    if offline is None:
        offline = not has_wandb_key()
        if offline:
            log.info("W&B: no key found, logging offline to %s (upload later with `wandb sync`)", save_dir)
    Path(save_dir).mkdir(parents=True, exist_ok=True)
    with needs_extra("train", "logger=wandb (logger=csv needs none)"):
        import wandb  # noqa: F401
    return WandbLogger(project=project, save_dir=save_dir, offline=offline, **options)
