"""`train(cfg)`: builds the objects of a config and fits the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from likeness.errors import ConfigError, LikenessError
from likeness.log import get_logger
from likeness.training.schema import register

log = get_logger(__name__)
register()  # before Hydra composes, since the configs refer to these schemas


def resolve_checkpoint(ckpt_path: str | None, output: Path) -> str | None:
    """The checkpoint to resume from; "last" is the newest one in the run's folder.

    Raises:
        ConfigError: if it does not exist.
    """
    if not ckpt_path:
        return None
    file = output / "checkpoints" / "last.ckpt" if ckpt_path == "last" else Path(ckpt_path)
    if not file.is_file():
        raise ConfigError(f"ckpt_path: {file} does not exist; leave ckpt_path out or give another checkpoint")
    return str(file)


def build(node: Any, **extra: Any) -> Any:
    """Instantiates a config node, and unwraps our own errors from Hydra's.

    Raises:
        LikenessError: if a constructor raised one.
        ConfigError: if the node cannot be built for another reason.
    """
    try:
        return instantiate(node, **extra)
    except InstantiationException as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, LikenessError):
                raise cause from None
            cause = cause.__cause__
        raise ConfigError(f"config: {' '.join(str(error).split())}; see the file of that group in configs/") from error


def train(cfg: DictConfig) -> tuple[dict[str, float], dict[str, Any]]:
    """Trains as `cfg` says.

    Returns:
        The last logged metrics, and the objects (`trainer`, `model`, `data`).
    """
    if cfg.threads:
        torch.set_num_threads(int(cfg.threads))
    L.seed_everything(int(cfg.seed), workers=True, verbose=False)
    if cfg.init and "init" not in cfg.model:
        raise ConfigError(f"init: got {cfg.init}, but {cfg.model._target_} cannot start from weights; leave init out")
    checkpoint = resolve_checkpoint(cfg.ckpt_path, Path(cfg.paths.output))
    data: L.LightningDataModule = build(cfg.data)
    model: L.LightningModule = build(cfg.model)
    callbacks: list[Callback] = [build(c) for c in (cfg.callbacks or {}).values() if c]
    loggers: list[Logger] = [build(c) for c in (cfg.logger or {}).values() if c]
    trainer: L.Trainer = build(cfg.trainer, callbacks=callbacks, logger=loggers or False)
    if cfg.validate_first:
        trainer.validate(model, datamodule=data, verbose=False)
    # Our checkpoints contain the timer and plain Python state besides tensors.
    trainer.fit(model, datamodule=data, ckpt_path=checkpoint, weights_only=False)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    log.info("trained %d steps; %s", trainer.global_step, {k: round(v, 4) for k, v in metrics.items()})
    return metrics, {"trainer": trainer, "model": model, "data": data}
