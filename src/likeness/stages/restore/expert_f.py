"""Expert-F behind the `Expert` protocol: weights in, range, size, dtype and device fixed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch

from likeness.errors import InputError
from likeness.nets.blocks import store_as_bf16
from likeness.nets.expert_f import INPUT_SIZE, OUTPUT_SIZE, ExpertF, confidence
from likeness.types import FloatArray, Restored
from likeness.weights.networks import load_network


class ExpertFExpert:
    """See `Expert`; reads 256, writes 512."""

    name = "expert_f"
    input_size, output_size = INPUT_SIZE, OUTPUT_SIZE

    def __init__(
        self, net: ExpertF, device: torch.device | str = "cpu", bf16: bool = False, sha256: str = "", half: float = 0.02
    ) -> None:
        self.device, self.bf16, self.sha256, self.half = torch.device(device), bf16, sha256, half
        net.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self.net = net.eval().requires_grad_(False)
        if bf16:
            store_as_bf16(self.net)

    def restore(self, crops: Sequence[FloatArray]) -> list[Restored]:
        """Restores a batch of (256, 256, 3) float32 crops.

        Raises:
            InputError: if a crop has another shape.
        """
        if not crops:
            return []
        for crop in crops:
            if crop.shape != (self.input_size, self.input_size, 3):
                raise InputError(
                    f"expert_f: got a crop of shape {crop.shape}, expected ({INPUT_SIZE}, {INPUT_SIZE}, 3)"
                )
        batch = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).to(self.device, torch.float32)
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            out = self.net(batch)
        images = out.image.clamp(0, 1).float().permute(0, 2, 3, 1).cpu().numpy()
        sure = confidence(out.log_scale, self.half).float()[:, 0].cpu().numpy()
        return [Restored(np.ascontiguousarray(i), c) for i, c in zip(images, sure, strict=True)]


def load_expert_f(
    path: Path | str | None = None, device: torch.device | str = "cpu", bf16: bool = False
) -> ExpertFExpert:
    """Expert-F with the released weights, or those of `path`.

    Raises:
        WeightsError: if the file is missing or does not fit.
    """
    net, sha256 = load_network("expert_f", path)
    return ExpertFExpert(cast(ExpertF, net), device, bf16, sha256)
