"""Offers dataclasses to Hydra's configs, so that their defaults stand in one place only."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from hydra.core.config_store import ConfigStore

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


def register() -> None:
    """Stores each dataclass as `schema/<name>`: its defaults, with the `_target_` that builds it."""
    store = ConfigStore.instance()
    for name, kind in SCHEMAS.items():
        node = {"_target_": f"{kind.__module__}.{kind.__qualname__}", "_convert_": "all", **asdict(kind())}
        store.store(group="schema", name=name, node=node)
