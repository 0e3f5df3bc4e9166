"""The rows of the tables: what is done to a degraded 256 crop.

To add a method, write a factory from `MethodContext` to `Method` and `METHODS.add` it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from likeness.data.faces import resize_face
from likeness.errors import ConfigError, InputError
from likeness.metrics.images import halve
from likeness.ops.color import to_float, to_integer
from likeness.pipeline.config import RestorerConfig
from likeness.pipeline.config import WeightsConfig as PipelineWeights
from likeness.pipeline.restorer import Restorer
from likeness.stages.restore.expert_f import load_expert_f
from likeness.stages.restore.expert_t import KnobsConfig, load_expert_t
from likeness.stages.restore.external import ExternalExpert
from likeness.types import FloatArray
from likeness.weights.external import load_external
from likeness.weights.networks import load_network, load_prior

INPUT = "input"  # the row that all others are compared with
FIDELITY = {  # the rows of Expert-T's fidelity knob; "expert_t" alone is the default
    "expert_t_fidelity_0": 0.0,
    "expert_t_fidelity_25": 0.25,
    "expert_t": 0.5,
    "expert_t_fidelity_75": 0.75,
    "expert_t_fidelity_1": 1.0,
}


@dataclass(frozen=True)
class MethodContext:
    """What a factory may need.

    Attributes:
        device: torch device.
        weights: by method, a file, or None for the released one.
        external_size: edge of the crops that the external network reads; None: 512 over its factor.
    """

    device: str = "cpu"
    weights: Mapping[str, str | None] = field(default_factory=dict)
    external_size: int | None = None


@dataclass(frozen=True)
class Method:
    """One way to restore.

    Attributes:
        name: in the tables.
        run: 256 crops, HWC float32 in [0, 1], to as many of 256 or 512 pixels, in order; or frames to frames.
        weights: SHA-256 of each weight file, for the provenance.
        takes: crops, whole frames of any size, or either.
        expert: whether the pipeline could run it, so that its guard is asked about it.
    """

    name: str
    run: Callable[[Sequence[FloatArray]], Sequence[FloatArray]]
    weights: Mapping[str, str] = field(default_factory=dict)
    takes: Literal["crops", "frames", "either"] = "crops"
    expert: bool = False


Factory = Callable[[MethodContext], Method]


class MethodRegistry:
    """Names to factories; a failed `add` changes nothing."""

    def __init__(self) -> None:
        self._factories: dict[str, Factory] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """In the order they were added."""
        return tuple(self._factories)

    def add(self, name: str, factory: Factory) -> None:
        """Enters a method; ConfigError if the name is taken."""
        if name in self._factories:
            raise ConfigError(f"method '{name}' is there already; choose another name")
        self._factories[name] = factory

    def make(self, names: Sequence[str], context: MethodContext) -> list[Method]:
        """Makes methods in the order given.

        Raises:
            ConfigError: if a name is unknown or named twice, or there is none.
        """
        unknown = [n for n in names if n not in self._factories]
        if unknown or not names or len(set(names)) < len(names):
            raise ConfigError(f"methods: got {list(names)}, expected distinct ones out of {', '.join(self.names)}")
        return [self._factories[n](context) for n in names]


def at_both_sizes(name: str, restored: Sequence[FloatArray], count: int) -> dict[int, Tensor]:
    """A method's result at 256 and at 512.

    A 512 result goes to 256 by 2 x 2 mean; a 256 one goes to 512 by bicubic enlargement.

    Args:
        name: of the method, for messages.
        restored: what it returned, HWC float32.
        count: how many crops it was given.

    Returns:
        {256: (B, 3, 256, 256), 512: (B, 3, 512, 512)}, clipped to [0, 1], not yet rounded.

    Raises:
        InputError: if the method returns another number or size of pictures.
    """
    shapes = {r.shape for r in restored}
    if len(restored) != count or len(shapes) != 1 or not shapes <= {(256, 256, 3), (512, 512, 3)}:
        raise InputError(
            f"method '{name}' returned {len(restored)} pictures of {sorted(shapes)} for {count} crops; "
            "expected one each, all (256, 256, 3) or all (512, 512, 3)"
        )
    if restored[0].shape[0] == 512:
        full = _tensor(restored)
        return {256: halve(full), 512: full}
    return {256: _tensor(restored), 512: _tensor([_enlarge(r, cv2.INTER_CUBIC) for r in restored])}


def _tensor(pictures: Sequence[FloatArray]) -> Tensor:
    batch = np.stack(pictures).astype(np.float32).transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(batch)).clamp(0, 1)


def _enlarge(picture: FloatArray, interpolation: int) -> FloatArray:
    size = (2 * picture.shape[1], 2 * picture.shape[0])
    return np.asarray(cv2.resize(picture, size, interpolation=interpolation), np.float32)


def _input(_: MethodContext) -> Method:
    return Method(INPUT, lambda crops: list(crops), takes="either")  # at 512: bicubic


def _lanczos(_: MethodContext) -> Method:
    return Method("lanczos", lambda crops: [_enlarge(c, cv2.INTER_LANCZOS4) for c in crops])


def _unsharp(_: MethodContext, sigma: float = 1.5, amount: float = 1.0) -> Method:
    """Unsharp mask at 256: what sharpening alone can do."""

    def run(crops: Sequence[FloatArray]) -> list[FloatArray]:
        blurred = [cv2.GaussianBlur(c, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101) for c in crops]
        return [c + np.float32(amount) * (c - b) for c, b in zip(crops, blurred, strict=True)]

    return Method("unsharp", run)


def _expert_f(context: MethodContext) -> Method:
    expert = load_expert_f(context.weights.get("expert_f"), context.device)
    hashes = {"expert_f": expert.sha256}
    return Method("expert_f", lambda crops: [r.image for r in expert.restore(crops)], hashes, expert=True)


def _srnet(context: MethodContext) -> Method:
    """The plain network trained on the same data."""
    net, sha256 = load_network("srnet", context.weights.get("srnet"))
    net = net.eval().requires_grad_(False).to(context.device)
    return Method("srnet", lambda crops: _batch(net, crops, context.device), {"srnet": sha256})


def _batch(net: nn.Module, crops: Sequence[FloatArray], device: str) -> list[FloatArray]:
    with torch.inference_mode():
        images = net(_tensor(crops).to(device)).image.cpu()
    return [image.permute(1, 2, 0).numpy() for image in images]


def _external(context: MethodContext) -> Method:
    """A published restorer from the user's file, on enlarged crops where it reads larger ones.

    Raises:
        ConfigError: if no file is named.
    """
    file = context.weights.get("external")
    if not file:
        raise ConfigError("methods: external needs a network that spandrel loads; give external.weights=FILE")
    expert = ExternalExpert(load_external(file, "external.weights", context.device), context.external_size)

    def run(crops: Sequence[FloatArray]) -> list[FloatArray]:
        read = [np.clip(resize_face(c, expert.input_size), 0, 1) for c in crops]
        size = 512 if expert.output_size >= 512 else 256
        return [resize_face(r.image, size) for r in expert.restore(read)]

    return Method("external", run, {"external": expert.sha256}, expert=True)


def _prior(context: MethodContext) -> Method:
    """The codebook's reconstruction: on clean faces, the ceiling of what is built on it."""
    net, sha256 = load_prior(context.weights.get("prior"), context.device)
    return Method("prior", lambda crops: _batch(net, crops, context.device), {"prior": sha256})


def _expert_t(name: str, knobs: KnobsConfig) -> Factory:
    """Expert-T with the knobs given, the others at their defaults."""

    def factory(context: MethodContext) -> Method:
        weights, device = context.weights, context.device
        own = weights.get("expert_t"), weights.get("prior"), weights.get("expert_f")
        expert = load_expert_t(*own, knobs, device)
        hashes = {"expert_t": expert.sha256}
        return Method(name, lambda crops: [r.image for r in expert.restore(crops)], hashes, expert=True)

    return factory


def _pipeline(context: MethodContext) -> Method:
    """Everything that infer.py does to a photo, at its own size."""
    w = {name: context.weights.get(name) or "" for name in ("expert_f", "expert_t", "prior")}
    restorer = Restorer(RestorerConfig(upscale="1", device=context.device, weights=PipelineWeights(**w)))

    def run(frames: Sequence[FloatArray]) -> list[FloatArray]:
        return [to_float(restorer.image(to_integer(frame)).pixels) for frame in frames]

    return Method("pipeline", run, restorer.weights_hashes(), takes="frames")


METHODS = MethodRegistry()
METHODS.add(INPUT, _input)
METHODS.add("lanczos", _lanczos)
METHODS.add("unsharp", _unsharp)
METHODS.add("expert_f", _expert_f)
METHODS.add("prior", _prior)
METHODS.add("srnet", _srnet)
METHODS.add("external", _external)
METHODS.add("pipeline", _pipeline)
for _name, _fidelity in FIDELITY.items():
    METHODS.add(_name, _expert_t(_name, KnobsConfig(fidelity=_fidelity)))
METHODS.add("expert_t_hard", _expert_t("expert_t_hard", KnobsConfig(lookup="hard")))
