"""Makes dataclasses available to Hydra's configs, so that defaults are stated only once."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from likeness.compat import cpu_has_bf16
from likeness.data.modules import CartoonDataConfig, FaceDataConfig
from likeness.data.pairs import MixConfig
from likeness.nets.expert_f import ExpertFConfig
from likeness.nets.expert_t_data import ExpertTConfig
from likeness.nets.gate import GateConfig
from likeness.nets.obstructions import ObstructionNetConfig
from likeness.nets.prior import PriorConfig
from likeness.nets.srnet import SRNetConfig
from likeness.training.expert_t import TokenConfig
from likeness.training.gan import GanConfig
from likeness.training.gate_data import GateDataConfig
from likeness.training.losses.restoration import LossWeights

SCHEMAS: dict[str, Any] = {
    "expert_f": ExpertFConfig,
    "expert_t": ExpertTConfig,
    "tokens": TokenConfig,
    "obstructions": ObstructionNetConfig,
    "prior": PriorConfig,
    "srnet": SRNetConfig,
    "gan": GanConfig,
    "gate": GateConfig,
    "loss_weights": LossWeights,
    "mix": MixConfig,
    "face_data": FaceDataConfig,
    "cartoon_data": CartoonDataConfig,
    "gate_data": GateDataConfig,
}


def precision(accelerator: str) -> str:
    """Lightning's precision for an accelerator: bf16-mixed, or 32-true on a CPU without bf16 instructions."""
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.cuda.is_available())
    return "32-true" if on_cpu and not cpu_has_bf16() else "bf16-mixed"


def register() -> None:
    """Stores each dataclass as `schema/<name>`, with its `_target_`, and registers the resolver `precision`."""
    OmegaConf.register_new_resolver("precision", precision, replace=True)
    store = ConfigStore.instance()
    for name, kind in SCHEMAS.items():
        node = {"_target_": f"{kind.__module__}.{kind.__qualname__}", "_convert_": "all", **asdict(kind())}
        store.store(group="schema", name=name, node=node)
