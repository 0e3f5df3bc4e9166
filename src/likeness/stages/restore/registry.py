"""The experts to choose from. A new expert is one file, as in examples/own_expert.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from likeness.errors import ConfigError
from likeness.registry import Entry, Registry
from likeness.stages.restore.base import Expert, ExpertConfig
from likeness.stages.restore.expert_f import load_expert_f
from likeness.stages.restore.expert_t import KnobsConfig, load_expert_t
from likeness.stages.restore.external import ExternalExpert
from likeness.stages.restore.onnx import OnnxExpert, load_onnx
from likeness.weights.external import load_external
from likeness.weights.files import file_hash
from likeness.weights.int8 import cached_folder, released_ranges
from likeness.weights.manifest import released, under_expert_t


@dataclass(frozen=True)
class ExpertOptions:
    """What an expert may need to load.

    Attributes:
        config: the user's choice of an expert.
        knobs: Expert-T's options.
        weights: files that replace the released ones, by name; empty = released.
        onnx: folder of graphs for ONNX Runtime; empty = torch.
        int8: run experts in int8 by ONNX Runtime where ranges of their weights are released.
        device, bf16: where and how torch computes.
    """

    config: ExpertConfig = field(default_factory=ExpertConfig)
    knobs: KnobsConfig = field(default_factory=KnobsConfig)
    weights: Mapping[str, str] = field(default_factory=dict)
    onnx: str = ""
    int8: bool = False
    device: torch.device | str = "cpu"
    bf16: bool = False

    def file(self, name: str) -> Path:
        """The user's weight file, or the released one."""
        given = self.weights.get(name, "")
        return Path(given) if given else released(name)

    @property
    def under_expert_t(self) -> Path:
        """The Expert-F that Expert-T builds on."""
        return under_expert_t(self.weights.get("expert_t", ""), self.weights.get("expert_f", ""))


EXPERTS: Registry[ExpertOptions, Expert] = Registry("expert.name")


def _expert_f(options: ExpertOptions) -> Expert:
    files = {"expert_f": options.file("expert_f")}
    return _by_onnx("expert_f", files, options) or load_expert_f(files["expert_f"], options.device, options.bf16)


def _expert_t(options: ExpertOptions) -> Expert:
    if options.weights.get("expert_f") and not options.weights.get("expert_t") and options.config.name == "expert_t":
        raise ConfigError(
            f"weights.expert_f: got {options.weights['expert_f']}, but the released Expert-T builds on the released "
            "Expert-F; give weights.expert_t=FILE that was trained with yours, or leave it out"
        )
    files = {name: options.file(name) for name in ("expert_t", "prior")} | {"expert_f": options.under_expert_t}
    return _by_onnx("expert_t", files, options) or load_expert_t(
        files["expert_t"], files["prior"], files["expert_f"], options.knobs, options.device, options.bf16
    )


def _by_onnx(name: str, files: Mapping[str, Path], options: ExpertOptions) -> OnnxExpert | None:
    """The expert on ONNX Runtime, or None where torch runs it."""
    if not (options.onnx or options.int8):
        return None
    weights = {n: file_hash(f) for n, f in files.items()}
    if options.onnx:
        return load_onnx(name, options.onnx, weights, options.knobs)
    if released_ranges(name, weights) is None:
        return None
    return load_onnx(name, cached_folder(name, files, weights), weights, options.knobs)


def _external(options: ExpertOptions) -> Expert:
    net = load_external(options.config.file, "expert.file", torch.device(options.device))
    return ExternalExpert(net, options.config.size)


def _prior(options: ExpertOptions) -> Mapping[str, Path]:
    return {} if options.onnx else {"prior": options.file("prior")}


EXPERTS.add(Entry("expert_f", "256 px crops", "512 px faces, confidence", "9 MB of weights", _expert_f))
EXPERTS.add(
    Entry(
        "expert_t",
        "256 px crops, state over time",
        "512 px faces, confidence, state",
        "30 MB of weights",
        _expert_t,
        _prior,
    )
)
EXPERTS.add(Entry("external", "crops of its network's size", "enlarged faces", "its network's", _external))
