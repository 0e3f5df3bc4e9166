"""Networks with their weights in them, for those that several layers use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from likeness.nets.prior import Prior, PriorConfig
from likeness.weights.files import load_into, load_weights
from likeness.weights.manifest import released


def load_prior(path: Path | str | None = None, device: torch.device | str = "cpu") -> tuple[Prior, str]:
    """The frozen prior with the released weights, or those of `path`, and the file's SHA-256.

    Raises:
        WeightsError: if the file is missing or does not fit.
    """
    source = Path(path) if path else released("prior")
    file = load_weights(source, "prior")
    config: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in file.config.items()}
    net = Prior(PriorConfig(**config))
    load_into(net, file, source)
    net = net.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net.eval().requires_grad_(False), file.sha256
