"""Expert-T as an `Expert`, with its options and the frozen networks under it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch

from likeness.errors import ConfigError
from likeness.nets.blocks import store_as_bf16
from likeness.nets.code_smoothing import CodeSmoothing, stack_states
from likeness.nets.expert_f import INPUT_SIZE, OUTPUT_SIZE, ExpertF
from likeness.nets.expert_t import ExpertT
from likeness.nets.expert_t_data import LOOK_UPS, Frozen, Knobs, LookUp
from likeness.ops.tensors import stack_crops
from likeness.stages.restore.base import BaseExpert, split_faces
from likeness.types import Conditions, FloatArray, Restored
from likeness.weights.networks import load_network, load_prior


@dataclass
class KnobsConfig:
    """How Expert-T restores.

    Attributes:
        fidelity: 0..1; 0 = the prior, 1 = the input.
        quality: 0..1; 0 = the input's blur and noise, 1 = clean.
        lookup: soft (mean of the codes by probability), hard (the most probable code: sharper, but more often wrong)
            or nearest.
        pool: clips: average a face's quality tokens over its frames, sharper ones with more weight. Default: true
            where Expert-T may run.
        code_smoothing: clips: distance, 0..2, from which a code takes its new value at once; smaller changes are
            damped. 0 turns it off. Default: 0.5 where Expert-T may run.
    """

    fidelity: float = 0.5
    quality: float = 1.0
    lookup: str = "soft"
    pool: bool | None = None
    code_smoothing: float | None = None

    def __post_init__(self) -> None:
        for name in ("fidelity", "quality"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"expert_t.{name}: got {getattr(self, name)}, expected 0 to 1")
        if not 0 <= (self.code_smoothing or 0) <= 2:
            raise ConfigError(f"expert_t.code_smoothing: got {self.code_smoothing}, expected 0 to 2")
        if self.lookup not in LOOK_UPS:
            raise ConfigError(f"expert_t.lookup: got {self.lookup!r}, expected {', '.join(LOOK_UPS)}")


class ExpertTExpert(BaseExpert):
    """See `Expert`; reads 256, writes 512; steady over time where its options ask for that."""

    name = "expert_t"
    input_size, output_size = INPUT_SIZE, OUTPUT_SIZE

    def __init__(
        self,
        net: ExpertT,
        frozen: Frozen,
        knobs: KnobsConfig | None = None,
        device: torch.device | str = "cpu",
        bf16: bool = False,
        sha256: str = "",
        half: float = 0.02,
    ) -> None:
        self.device, self.bf16, self.sha256, self.half = torch.device(device), bf16, sha256, half
        knobs = knobs or KnobsConfig()
        self.knobs = Knobs(knobs.fidelity, knobs.quality, cast(LookUp, knobs.lookup))
        self.pool, self.code_smoothing = bool(knobs.pool), knobs.code_smoothing or 0.0
        self.net, self.frozen = net, frozen
        for part in (net, *frozen):
            if part is not None:
                part.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
                part.eval().requires_grad_(False)
                if bf16:
                    store_as_bf16(part)

    def _restore(self, crops: Sequence[FloatArray], conditions: Sequence[Conditions] | None) -> list[Restored]:
        batch = stack_crops(crops, self.device)
        temporal = conditions if self.pool or self.code_smoothing else None
        unknown = self._unknown(conditions)
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            if temporal is None or unknown is not None:
                out = self.net(batch, self.frozen, self.knobs, unknown)
                return split_faces(out.image, out.log_scale, self.half)
            state = stack_states([c.state for c in temporal], self.net.initial_state())
            weights = torch.tensor([c.weight for c in temporal], device=self.device).to(state.weight)
            smoothing = CodeSmoothing(state, weights, self.pool, self.code_smoothing)
            out, state = self.net.restore_sequence(batch, self.frozen, self.knobs, smoothing)
        restored = split_faces(out.image, out.log_scale, self.half)
        return [replace(face, state=state.of(i)) for i, face in enumerate(restored)]

    def _unknown(self, conditions: Sequence[Conditions] | None) -> torch.Tensor | None:
        """(B, 1, 256, 256) bool, the pixels to invent; None where there are none."""
        masks = [c.unknown for c in conditions or ()]
        if all(mask is None for mask in masks):
            return None
        none = np.zeros((INPUT_SIZE, INPUT_SIZE), np.bool_)
        return torch.from_numpy(np.stack([none if m is None else m for m in masks]))[:, None].to(self.device)


def load_expert_t(
    path: Path | str | None = None,
    prior: Path | str | None = None,
    expert_f: Path | str | None = None,
    knobs: KnobsConfig | None = None,
    device: torch.device | str = "cpu",
    bf16: bool = False,
) -> ExpertTExpert:
    """Expert-T and the networks under it with the released weights, or those of the files named.

    Raises:
        WeightsError: if a file is missing or does not fit.
        ConfigError: for knobs beyond their range.
    """
    net, sha256 = load_network("expert_t", path)
    expert_f_net = cast(ExpertF, load_network("expert_f", expert_f)[0])
    expert_t = cast(ExpertT, net)
    frozen = Frozen(load_prior(prior)[0], expert_f_net if expert_t.config.regress else None)
    return ExpertTExpert(expert_t, frozen, knobs, device, bf16, sha256)
