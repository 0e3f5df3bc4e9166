"""timm's Muon, orthogonalised in fp32 on the CPU.

timm does it in bf16, which a CPU without bf16 instructions only emulates: one step of Expert-F's weights took 5.0 s on
such a CPU, and takes 0.3 s in fp32. On accelerators nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from timm.optim import muon


class Muon(muon.Muon):
    """See `timm.optim.Muon` (Jordan et al. 2024)."""

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step down the gradients."""
        if any(p.device.type != "cpu" for group in self.param_groups for p in group["params"]):
            return super().step(closure)
        with _fp32():
            return super().step(closure)


@contextmanager
def _fp32() -> Iterator[None]:
    # The precision is a default of this function, which the optimiser never names.
    kept = muon.zeropower_via_newtonschulz
    muon.zeropower_via_newtonschulz = partial(kept, dtype=torch.float32)
    try:
        yield
    finally:
        muon.zeropower_via_newtonschulz = kept
