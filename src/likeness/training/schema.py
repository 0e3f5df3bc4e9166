"""Offers dataclasses to Hydra's configs, so that their defaults stand in one place only."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from likeness.compat import cpu_has_bf16
from likeness.data.restoration import MixConfig
from likeness.nets.expert_f import ExpertFConfig
from likeness.nets.expert_t import ExpertTConfig
from likeness.nets.gate import GateConfig
from likeness.nets.prior import PriorConfig
from likeness.nets.srnet import SRNetConfig
from likeness.training.expert_t import TokenConfig
from likeness.training.gan import GanConfig
from likeness.training.losses.restoration import LossWeights

SCHEMAS: dict[str, Any] = {
    "expert_f": ExpertFConfig,
    "expert_t": ExpertTConfig,
    "tokens": TokenConfig,
    "prior": PriorConfig,
    "srnet": SRNetConfig,
    "gan": GanConfig,
    "gate": GateConfig,
    "loss_weights": LossWeights,
    "mix": MixConfig,
}


def precision(accelerator: str) -> str:
    """Lightning's precision for an accelerator: bf16-mixed, or 32-true on a CPU that only emulates bf16."""
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.cuda.is_available())
    return "32-true" if on_cpu and not cpu_has_bf16() else "bf16-mixed"


def register() -> None:
    """Stores each dataclass as `schema/<name>`, with the `_target_` that builds it, and the resolver `precision`."""
    OmegaConf.register_new_resolver("precision", precision, replace=True)
    store = ConfigStore.instance()
    for name, kind in SCHEMAS.items():
        node = {"_target_": f"{kind.__module__}.{kind.__qualname__}", "_convert_": "all", **asdict(kind())}
        store.store(group="schema", name=name, node=node)
