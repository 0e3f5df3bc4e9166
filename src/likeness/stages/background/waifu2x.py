"""waifu2x: removes noise and blocks, and enlarges; and `auto`, which leaves good pictures alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from likeness.nets.upconv import CONTEXT, UpConv7
from likeness.ops.color import grey8
from likeness.ops.quality import blockiness, detail, flat_noise
from likeness.ops.tensors import to_tensor
from likeness.stages.background.base import BackgroundConfig, BackgroundPlan, Progress
from likeness.stages.background.lanczos import lanczos
from likeness.stages.background.network import Network, run_network
from likeness.types import FloatArray, MediaKind, Pixels

_SECOND = 4  # source pixels of context for the second pass, which reads 7 of twice the size
_PART = 1024  # edge of the middle of a picture that is measured
# Noise and blockiness, in grey levels, at which the noise levels 1, 2 and 3 begin, and the range in which `auto`
# fades in. From training faces under noise and JPEG, see experiments/background.
_NOISE, _NOISE_FADE = (0.6, 1.2, 2.0), (0.6, 1.0)
_BLOCKS, _BLOCKS_FADE = (1.4, 2.6, 4.5), (0.7, 1.0)
_DETAIL_FADE, _BLUR_STRENGTH = (
    (3.0, 5.0),
    0.7,
)  # percent; a good but smooth picture has as little detail as a blurred one


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
        level, figures = noise_level(pixels)
        return BackgroundPlan("waifu2x", f"chosen by background.name; {figures}", self.config.strength, level)

    def enlarge(self, pixels: Pixels, factor: int, plan: BackgroundPlan, progress: Progress | None = None) -> Pixels:
        """See `Background`; a factor of 4 takes two passes, of which the second only enlarges."""
        if plan.strength == 0:
            return lanczos(pixels, factor)
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
        level, figures = noise_level(pixels)
        strength = self.config.strength * poorness(pixels)
        if strength < 0.05:
            return BackgroundPlan("lanczos", f"a good picture: {figures}")
        return BackgroundPlan("waifu2x", f"a poor picture: {figures}", round(strength, 2), level)


def noise_level(pixels: Pixels) -> tuple[int, str]:
    """waifu2x's noise level for a picture, 0 to 3, and the figures that decided it, as text."""
    picture = _middle(pixels)
    noise, blocks = flat_noise(picture), blockiness(picture)
    level = max(int(np.searchsorted(_NOISE, noise, "right")), int(np.searchsorted(_BLOCKS, blocks, "right")))
    return level, f"noise {noise:.1f}, blockiness {blocks:.1f}, detail {detail(picture):.1f} %"


def poorness(pixels: Pixels) -> float:
    """0 for a good picture, 1 for a noisy or blocky one; at most 0.7 for one that only lacks detail."""
    picture = _middle(pixels)
    noise = np.interp(flat_noise(picture), _NOISE_FADE, (0, 1))
    blocks = np.interp(blockiness(picture), _BLOCKS_FADE, (0, 1))
    blur = np.interp(detail(picture), _DETAIL_FADE, (_BLUR_STRENGTH, 0))
    return float(max(noise, blocks, blur))


def _middle(pixels: Pixels) -> FloatArray:
    top, left = (max(0, (n - _PART) // 2) for n in pixels.shape[:2])
    return grey8(np.ascontiguousarray(pixels[top : top + _PART, left : left + _PART])).astype(np.float32)


def _run(net: UpConv7, image: FloatArray) -> FloatArray:
    with torch.inference_mode():
        x = to_tensor(image).to(next(net.parameters()).device).contiguous(memory_format=torch.channels_last)
        return net(x)[0].permute(1, 2, 0).float().cpu().numpy()
