"""Expert-T behind the `Expert` protocol: its weights, the prior's and Expert-F's; the user's knobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch

from likeness.errors import ConfigError
from likeness.nets.blocks import store_as_bf16
from likeness.nets.expert_f import INPUT_SIZE, OUTPUT_SIZE, ExpertF
from likeness.nets.expert_t import LOOK_UPS, ExpertT, Frozen, Knobs, LookUp
from likeness.nets.hold import stacked
from likeness.stages.restore.base import ExposedFollower, split_faces, stack_crops
from likeness.types import Before, FloatArray, Restored
from likeness.weights.networks import load_network, load_prior


@dataclass
class KnobsConfig:
    """How Expert-T restores.

    Attributes:
        fidelity: 0..1; 0 = what the prior knows of faces, 1 = the input's own look.
        quality: 0..1; 0 = the input's own surface (blur, noise), 1 = clean.
        lookup: soft (mean of the likely codes), hard (the likeliest one: sharper, and off more often) or nearest.
        pool: clips: a face's texture is the mean over its frames, the sharper ones counting more; None is no.
        hold: clips: how far a cell's code must move, 0..2, until it displaces the last frame's wholly; 0 or None
            decides every frame anew.
    """

    fidelity: float = 0.5
    quality: float = 1.0
    lookup: str = "soft"
    pool: bool | None = None
    hold: float | None = None

    def __post_init__(self) -> None:
        for name in ("fidelity", "quality"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"expert_t.{name}: got {getattr(self, name)}, expected 0 to 1")
        if not 0 <= (self.hold or 0) <= 2:
            raise ConfigError(f"expert_t.hold: got {self.hold}, expected 0 to 2, the distance of two opposite codes")
        if self.lookup not in LOOK_UPS:
            raise ConfigError(f"expert_t.lookup: got {self.lookup!r}, expected {', '.join(LOOK_UPS)}")


class ExpertTExpert(ExposedFollower):
    """See `Expert`; reads 256, writes 512."""

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
        self.pool, self.hold = bool(knobs.pool), knobs.hold or 0.0
        self.follows = self.pool or self.hold > 0
        self.net, self.frozen = net, frozen
        for part in (net, *frozen):
            if part is not None:
                part.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
                part.eval().requires_grad_(False)
                if bf16:
                    store_as_bf16(part)

    def _restore(self, crops: Sequence[FloatArray]) -> list[Restored]:
        batch = stack_crops(crops, self.device)
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            out = self.net(batch, self.frozen, self.knobs)
        return split_faces(out.image, out.log_scale, self.half)

    def _follow(self, crops: Sequence[FloatArray], befores: Sequence[Before]) -> list[Restored]:
        batch = stack_crops(crops, self.device)
        weights = torch.tensor([b.weight for b in befores], device=self.device)
        past = stacked([b.past for b in befores], self.net.no_past())
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            out, past = self.net.follow(batch, self.frozen, self.knobs, past, weights, self.pool, self.hold)
        restored = split_faces(out.image, out.log_scale, self.half)
        return [replace(face, past=past.of(i)) for i, face in enumerate(restored)]


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
    first = cast(ExpertF, load_network("expert_f", expert_f)[0])
    made = cast(ExpertT, net)
    frozen = Frozen(load_prior(prior)[0], first if made.config.regress else None)
    return ExpertTExpert(made, frozen, knobs, device, bf16, sha256)
