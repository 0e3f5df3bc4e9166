"""Networks that return as many pixels as they read: RealESRGAN, and any that spandrel loads."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from likeness.log import get_logger
from likeness.ops.tensors import to_tensor
from likeness.stages.background.base import BackgroundConfig, BackgroundPlan, Progress
from likeness.stages.background.network import Network, run_network
from likeness.types import FloatArray, MediaKind, Pixels

_log = get_logger(__name__)
CONTEXT = 16  # pixels around a tile
_LONG = 20.0  # seconds from which the expected time is logged


class Enlarger:
    """An enlarging network of one factor.

    Args:
        name: for the report.
        run: (1, 3, H, W) in [0, 1] to (1, 3, scale H, scale W).
        scale: its factor.
        device: where it runs.
        config: the options.
    """

    def __init__(
        self, name: str, run: Callable[[Tensor], Tensor], scale: int, device: torch.device, config: BackgroundConfig
    ) -> None:
        self.name, self.run, self.scale, self.device, self.config = name, run, scale, device, config

    def plan(self, pixels: Pixels, kind: MediaKind) -> BackgroundPlan:
        """See `Background`."""
        return BackgroundPlan(self.name, "chosen by background.name", self.config.strength)

    def enlarge(self, pixels: Pixels, factor: int, plan: BackgroundPlan, progress: Progress | None = None) -> Pixels:
        """See `Background`; logs the expected time after the first tile if it is long."""
        start = time.perf_counter()

        def one(image: FloatArray) -> FloatArray:
            large = self.run(to_tensor(image).to(self.device))[0].permute(1, 2, 0).float().cpu().numpy()
            edge = CONTEXT * self.scale
            return large[edge : len(large) - edge, edge : large.shape[1] - edge]

        def tell(done: int, count: int | None) -> None:
            expected = (time.perf_counter() - start) * (count or 1)
            if done == 1 and expected > _LONG:
                _log.warning("background=%s: about %.0f s for this picture", self.name, expected)
            if progress:
                progress(done, count)

        net = Network(one, self.scale, CONTEXT)
        return run_network(net, pixels, factor, self.config.tile, plan.strength, tell)
