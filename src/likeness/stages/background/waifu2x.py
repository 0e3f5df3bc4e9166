"""waifu2x: removes noise and blocks, and enlarges; and `auto`, which leaves good pictures alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from likeness.nets.upconv import CONTEXT, UpConv7
from likeness.ops.color import grey8
from likeness.ops.quality import blockiness, detail, flat_noise
from likeness.ops.tensors import to_tensor
from likeness.stages.background.base import BackgroundConfig, BackgroundPlan, Progress
from likeness.stages.background.network import Network, run_network
from likeness.types import FloatArray, MediaKind, Pixels

_SECOND = 4  # source pixels of context for the second pass, which reads 7 of twice the size
_PART = 1024  # edge of the middle of a picture that is measured
# Where `auto` fades in, from tables of training faces (experiments/background).
_NOISE_FADE, _BLOCKS_FADE = (1.5, 2.5), (1.2, 2.0)  # grey levels
_DETAIL_FADE = (3.0, 5.0)  # percent
_BLUR_STRENGTH = 0.7  # a good but smooth picture has as little detail as a blurred one
_BLOCKS = (2.6, 4.5)  # blockiness from which noise levels 2 and 3 are taken


class Waifu2x:
    """The photo networks, by noise level.

    Args:
        nets: by level, with None for the one that only enlarges; all on one device.
        config: the options.
    """

    def __init__(self, nets: Mapping[int | None, UpConv7], config: BackgroundConfig) -> None:
        self.nets, self.config = nets, config

    def plan(self, pixels: Pixels, kind: MediaKind) -> BackgroundPlan:
        """See `Background`."""
        faults = find_faults(pixels)
        return BackgroundPlan("waifu2x", f"chosen by background.name; {faults}", self.config.strength, faults.level)

    def enlarge(self, pixels: Pixels, factor: int, plan: BackgroundPlan, progress: Progress | None = None) -> Pixels:
        """See `Background`; a factor of 4 takes two passes, of which the second only enlarges."""
        first, second = self.nets[plan.noise_level], self.nets[None]

        def once(image: FloatArray) -> FloatArray:
            return _run(first, image)

        def twice(image: FloatArray) -> FloatArray:
            large = _run(first, image)
            spare = 2 * _SECOND - CONTEXT  # of twice the size, on each side
            return _run(second, large[spare : len(large) - spare, spare : large.shape[1] - spare])

        net = Network(once, 2, CONTEXT) if factor < 4 else Network(twice, 4, CONTEXT + _SECOND)
        return run_network(net, pixels, factor, self.config.tile, plan.strength, progress)


class Auto(Waifu2x):
    """waifu2x for photos with noise, blocks or little detail; Lanczos for others, and for clips on a CPU."""

    def plan(self, pixels: Pixels, kind: MediaKind) -> BackgroundPlan:
        """See `Background`."""
        on_gpu = next(self.nets[None].parameters()).device.type != "cpu"
        clips = on_gpu if self.config.clips is None else self.config.clips
        if kind != "photo" and not clips:
            return BackgroundPlan("lanczos", "a clip, and background.clips is off on a CPU")
        faults = find_faults(pixels)
        strength = self.config.strength * faults.poorness
        if strength < 0.05:
            return BackgroundPlan("lanczos", f"a good picture: {faults}")
        return BackgroundPlan("waifu2x", f"a poor picture: {faults}", round(strength, 2), faults.level)


@dataclass(frozen=True)
class Faults:
    """What was measured of a picture's middle.

    Attributes:
        noise: in its flattest parts, in grey levels.
        blocks: its blockiness, in grey levels.
        detail: in percent, see `ops.quality.detail`.
    """

    noise: float
    blocks: float
    detail: float

    def __str__(self) -> str:
        return f"noise {self.noise:.1f}, blockiness {self.blocks:.1f}, detail {self.detail:.1f} %"

    @property
    def level(self) -> int:
        """waifu2x's noise level: 3 for noise, 1 to 3 by blockiness, 1 for missing detail, else 0."""
        if self.noise >= _NOISE_FADE[0]:
            return 3
        if self.blocks >= _BLOCKS_FADE[0]:
            return 1 + int(np.searchsorted(_BLOCKS, self.blocks, "right"))
        return int(self.detail < _DETAIL_FADE[1])

    @property
    def poorness(self) -> float:
        """0 for a good picture, 1 for a noisy or blocky one; at most 0.7 for one that only lacks detail."""
        noise = np.interp(self.noise, _NOISE_FADE, (0, 1))
        blocks = np.interp(self.blocks, _BLOCKS_FADE, (0, 1))
        blur = np.interp(self.detail, _DETAIL_FADE, (_BLUR_STRENGTH, 0))
        return float(max(noise, blocks, blur))


def find_faults(pixels: Pixels) -> Faults:
    """Measures the middle of an HWC picture, at most 1024 x 1024 pixels."""
    top, left = (max(0, (n - _PART) // 2) for n in pixels.shape[:2])
    part = np.ascontiguousarray(pixels[top : top + _PART, left : left + _PART])
    picture = grey8(part).astype(np.float32)
    return Faults(flat_noise(picture), blockiness(picture), detail(picture))


def _run(net: UpConv7, image: FloatArray) -> FloatArray:
    with torch.inference_mode():
        x = to_tensor(image).to(next(net.parameters()).device).contiguous(memory_format=torch.channels_last)
        return net(x)[0].permute(1, 2, 0).float().cpu().numpy()
