"""The released experts by name, for studies that run them on crops directly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from likeness.errors import ConfigError
from likeness.evaluation.methods.base import EXPERT_F, EXPERT_T
from likeness.stages.restore.base import Expert
from likeness.stages.restore.expert_f import load_expert_f
from likeness.stages.restore.expert_t import load_expert_t

_LOADERS: Mapping[str, Callable[[], Expert]] = {EXPERT_F: load_expert_f, EXPERT_T: load_expert_t}


def load_experts(names: Sequence[str]) -> list[Expert]:
    """Experts with the released weights, in the order given.

    Raises:
        ConfigError: for an unknown name, or none.
    """
    if not names or set(names) - set(_LOADERS):
        raise ConfigError(f"experts: got {list(names)}, expected some of {', '.join(_LOADERS)}")
    return [_LOADERS[name]() for name in names]
