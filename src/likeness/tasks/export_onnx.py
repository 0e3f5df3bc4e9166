"""Writes the experts and the gate as ONNX files: `python -m likeness.tasks.export format=onnx dst=DIR`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from omegaconf import MISSING

from likeness.errors import ConfigError, WeightsError
from likeness.log import get_logger
from likeness.stages.restore.onnx import open_graph
from likeness.weights.int8 import known_ranges, quantise
from likeness.weights.manifest import released, under_expert_t
from likeness.weights.onnx import Graph, load_graph, write_graph

log = get_logger(__name__)

PARITY = 2e-3  # of [0, 1]: half of an 8-bit step; the gate's probability is far within


@dataclass
class OnnxOptions:
    """Writes `expert_f.onnx`, `expert_t.onnx` and `gate.onnx`, each with a JSON file of its facts.

    Every graph is run once beside torch in fp32, and refused where they differ by more than half an 8-bit step.

    Attributes:
        format: onnx.
        dst: the folder; give it to infer.py as weights.onnx=DIR with runtime=onnx.
        precision: fp32, or int8 (the experts' convolutions; only for weights whose activations were measured).
        expert_f, expert_t, prior, gate: weight files; empty = the released ones.
    """

    format: str = "onnx"
    dst: str = MISSING
    precision: str = "fp32"
    expert_f: str = ""
    expert_t: str = ""
    prior: str = ""
    gate: str = ""


def export_onnx(options: OnnxOptions) -> list[Path]:
    """Writes the files.

    Returns:
        The ONNX files.

    Raises:
        ConfigError: for another format or precision, or if torch lacks what it needs to write ONNX.
        WeightsError: if a weight file is missing or does not fit, a graph does not do as its network does, or
            no activations were measured with these weights.
        OutputError: if a file cannot be written.
    """
    if options.format != "onnx":
        raise ConfigError(f"format: got {options.format!r}, expected onnx or weights")
    if options.precision not in ("fp32", "int8"):
        raise ConfigError(f"precision: got {options.precision!r}, expected fp32 or int8")
    given = {name: getattr(options, name) or released(name) for name in ("expert_f", "expert_t", "prior", "gate")}
    under = given | {"expert_f": under_expert_t(options.expert_t, options.expert_f)}
    written = []
    for name, files in (("expert_f", given), ("expert_t", under), ("gate", given)):
        graph, weights = load_graph(name, files)
        path = Path(options.dst) / f"{name}.onnx"
        ranges = None if options.precision == "fp32" or name == "gate" else known_ranges(name, weights)
        write_graph(graph, path, weights)
        error = difference(graph, path)
        if error > PARITY:
            path.unlink()
            raise WeightsError(f"{path}: differs from torch by {error:.2g}, expected at most {PARITY}; not kept")
        if ranges is not None:
            quantise(path, ranges)
        size = path.stat().st_size / 1e6
        log.info("%s: %.1f MB, differs in fp32 from torch by %.1g at most", path, size, error)
        written.append(path)
    return written


def difference(graph: Graph, path: Path) -> float:
    """The largest difference of the first output, between torch and ONNX Runtime, on the graph's examples."""
    with torch.inference_mode():
        outputs = graph.net(*graph.inputs.values())
    ours = (outputs[0] if isinstance(outputs, tuple) else outputs).numpy()
    theirs = open_graph(path)({name: tensor.numpy() for name, tensor in graph.inputs.items()})[0]
    return float(np.abs(ours - theirs).max())
