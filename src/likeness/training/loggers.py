"""W&B without surprises."""

from __future__ import annotations

import netrc
import os
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import WandbLogger

from likeness.errors import ConfigError
from likeness.log import get_logger

log = get_logger(__name__)


def has_wandb_key() -> bool:
    """Whether a key is at hand, in WANDB_API_KEY or in a netrc entry."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return any("wandb" in host for host in netrc.netrc().hosts)
    except (FileNotFoundError, netrc.NetrcParseError):
        return False


def wandb_logger(project: str, save_dir: str, offline: bool | None = None, **options: Any) -> WandbLogger:
    """A W&B logger: online with a key, offline without, never a prompt.

    Args:
        project: W&B project.
        save_dir: where the run's files go.
        offline: force it; None decides by the key.
        options: handed to Lightning's WandbLogger.

    Raises:
        ConfigError: if wandb is not installed.
    """
    if offline is None:
        offline = not has_wandb_key()
        if offline:
            log.info("W&B: no key found, logging offline to %s (send later with `wandb sync`)", save_dir)
    Path(save_dir).mkdir(parents=True, exist_ok=True)
    try:
        return WandbLogger(project=project, save_dir=save_dir, offline=offline, **options)
    except ModuleNotFoundError as error:
        raise ConfigError("logger: wandb is not installed; pip install wandb or use logger=csv") from error
