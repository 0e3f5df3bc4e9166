"""The methods that restore crops, and the pipeline on whole frames.

To add a method, write a factory from `MethodContext` to `Method` and `METHODS.add` it.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import nn

from likeness.errors import ConfigError
from likeness.evaluation.methods.base import (
    EXPERT_F,
    EXPERT_T,
    INPUT,
    PIPELINE,
    Factory,
    Method,
    MethodContext,
    MethodRegistry,
    clipped_batch,
)
from likeness.ops.color import to_float, to_integer
from likeness.ops.resize import enlarge, resize
from likeness.pipeline.config import RestorerConfig, from_overrides
from likeness.pipeline.restorer import Restorer
from likeness.stages.restore.expert_f import load_expert_f
from likeness.stages.restore.expert_t import KnobsConfig, load_expert_t
from likeness.stages.restore.external import ExternalExpert
from likeness.types import FloatArray
from likeness.weights.external import load_external
from likeness.weights.networks import load_network, load_prior

FIDELITY = {  # the rows of Expert-T's fidelity knob; "expert_t" alone is the default
    "expert_t_fidelity_0": 0.0,
    "expert_t_fidelity_25": 0.25,
    EXPERT_T: 0.5,
    "expert_t_fidelity_75": 0.75,
    "expert_t_fidelity_1": 1.0,
}


def pipeline_config(context: MethodContext, words: Sequence[str] = ()) -> RestorerConfig:
    """The options of infer.py with the context's device and weights, then `words`."""
    files = {name: context.weights.get(name) for name in (EXPERT_F, EXPERT_T, "prior")}
    weights = [f"weights.{name}={file}" for name, file in files.items() if file]
    return from_overrides([f"device={context.device}", *weights, *words])


def photo_restorer(context: MethodContext) -> Restorer:
    """What infer.py does to a photo, at its own size."""
    return Restorer(pipeline_config(context, ["upscale=1"]))


def _input(_: MethodContext) -> Method:
    return Method(INPUT, lambda crops: list(crops), takes="either")  # at 512: bicubic


def _lanczos(_: MethodContext) -> Method:
    return Method("lanczos", lambda crops: [enlarge(c, 2, cv2.INTER_LANCZOS4) for c in crops])


def _unsharp(_: MethodContext, sigma: float = 1.5, amount: float = 1.0) -> Method:
    """Unsharp mask at 256: what sharpening alone can do."""

    def run(crops: Sequence[FloatArray]) -> list[FloatArray]:
        blurred = [cv2.GaussianBlur(c, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101) for c in crops]
        return [c + np.float32(amount) * (c - b) for c, b in zip(crops, blurred, strict=True)]

    return Method("unsharp", run)


def _expert_f(context: MethodContext) -> Method:
    expert = load_expert_f(context.weights.get(EXPERT_F), context.device)
    hashes = {EXPERT_F: expert.sha256}
    return Method(EXPERT_F, lambda crops: [r.image for r in expert.restore(crops)], hashes, expert=True)


def _srnet(context: MethodContext) -> Method:
    """The plain network trained on the same data."""
    net, sha256 = load_network("srnet", context.weights.get("srnet"))
    net = net.eval().requires_grad_(False).to(context.device)
    return Method("srnet", lambda crops: _run_network(net, crops, context.device), {"srnet": sha256})


def _run_network(net: nn.Module, crops: Sequence[FloatArray], device: str) -> list[FloatArray]:
    with torch.inference_mode():
        images = net(clipped_batch(crops).to(device)).image.cpu()
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
        inputs = [np.clip(resize(c, expert.input_size, expert.input_size), 0, 1) for c in crops]
        size = 512 if expert.output_size >= 512 else 256
        return [resize(r.image, size, size) for r in expert.restore(inputs)]

    return Method("external", run, {"external": expert.sha256}, expert=True)


def _prior(context: MethodContext) -> Method:
    """The codebook's reconstruction: on clean faces, the ceiling of what is built on it."""
    net, sha256 = load_prior(context.weights.get("prior"), context.device)
    return Method("prior", lambda crops: _run_network(net, crops, context.device), {"prior": sha256})


def _expert_t(name: str, knobs: KnobsConfig) -> Factory:
    """Expert-T with the knobs given, the others at their defaults."""

    def factory(context: MethodContext) -> Method:
        weights = context.weights
        files = weights.get(EXPERT_T), weights.get("prior"), weights.get(EXPERT_F)
        expert = load_expert_t(*files, knobs, context.device)
        hashes = {EXPERT_T: expert.sha256}
        return Method(name, lambda crops: [r.image for r in expert.restore(crops)], hashes, expert=True)

    return factory


def _pipeline(context: MethodContext) -> Method:
    restorer = photo_restorer(context)

    def run(frames: Sequence[FloatArray]) -> list[FloatArray]:
        return [to_float(restorer.image(to_integer(frame)).pixels) for frame in frames]

    return Method(PIPELINE, run, restorer.weights_hashes(), takes="frames")


METHODS = MethodRegistry()
METHODS.add(INPUT, _input)
METHODS.add("lanczos", _lanczos)
METHODS.add("unsharp", _unsharp)
METHODS.add(EXPERT_F, _expert_f)
METHODS.add("prior", _prior)
METHODS.add("srnet", _srnet)
METHODS.add("external", _external)
METHODS.add(PIPELINE, _pipeline)
for _name, _fidelity in FIDELITY.items():
    METHODS.add(_name, _expert_t(_name, KnobsConfig(fidelity=_fidelity)))
METHODS.add("expert_t_hard", _expert_t("expert_t_hard", KnobsConfig(lookup="hard")))
