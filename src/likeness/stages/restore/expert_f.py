"""Expert-F as an `Expert`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch

from likeness.nets.blocks import store_as_bf16
from likeness.nets.expert_f import INPUT_SIZE, OUTPUT_SIZE, ExpertF
from likeness.ops.tensors import stack_crops
from likeness.stages.restore.base import BaseExpert, split_faces
from likeness.types import Conditions, FloatArray, Restored
from likeness.weights.networks import load_network


class ExpertFExpert(BaseExpert):
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

    def _restore(self, crops: Sequence[FloatArray], conditions: Sequence[Conditions] | None) -> list[Restored]:
        batch = stack_crops(crops, self.device)
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            out = self.net(batch)
        return split_faces(out.image, out.log_scale, self.half)


def load_expert_f(
    path: Path | str | None = None, device: torch.device | str = "cpu", bf16: bool = False
) -> ExpertFExpert:
    """Expert-F with the released weights, or those of `path`.

    Raises:
        WeightsError: if the file is missing or does not fit.
    """
    net, sha256 = load_network("expert_f", path)
    return ExpertFExpert(cast(ExpertF, net), device, bf16, sha256)
