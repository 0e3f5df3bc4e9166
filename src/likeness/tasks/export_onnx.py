"""Writes the experts and the gate as ONNX files: `python -m likeness.tasks.export format=onnx dst=DIR`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from omegaconf import MISSING

from likeness.errors import ConfigError, WeightsError
from likeness.log import get_logger
from likeness.nets.expert_f import ExpertF
from likeness.nets.expert_t import ExpertT
from likeness.nets.expert_t_data import Frozen
from likeness.nets.gate import Gate
from likeness.stages.restore.onnx import open_graph
from likeness.weights.manifest import under_expert_t
from likeness.weights.networks import load_network, load_prior
from likeness.weights.onnx import Graph, expert_f_graph, expert_t_graph, gate_graph, write_graph

log = get_logger(__name__)

PARITY = 2e-3  # of [0, 1]: half of an 8-bit step; the gate's probability is far within


@dataclass
class OnnxOptions:
    """Writes `expert_f.onnx`, `expert_t.onnx` and `gate.onnx`, each with a JSON file of its facts.

    Every file is run once beside torch, and refused where the two differ by more than half an 8-bit step.

    Attributes:
        format: onnx.
        dst: the folder; give it to infer.py as weights.onnx=DIR with runtime=onnx.
        expert_f, expert_t, prior, gate: weight files; empty = the released ones.
    """

    format: str = "onnx"
    dst: str = MISSING
    expert_f: str = ""
    expert_t: str = ""
    prior: str = ""
    gate: str = ""


def export_onnx(options: OnnxOptions) -> list[Path]:
    """Writes the files.

    Returns:
        The ONNX files.

    Raises:
        ConfigError: for another format, or if torch lacks what it needs to write ONNX.
        WeightsError: if a weight file is missing or does not fit, or a graph does not do as its network does.
        OutputError: if a file cannot be written.
    """
    if options.format != "onnx":
        raise ConfigError(f"format: got {options.format!r}, expected onnx or weights")
    expert_f, f_hash = load_network("expert_f", options.expert_f or None)
    expert_t, t_hash = load_network("expert_t", options.expert_t or None)
    first, first_hash = load_network("expert_f", under_expert_t(options.expert_t, options.expert_f))
    prior, prior_hash = load_prior(options.prior or None)
    second = cast(ExpertT, expert_t)
    under = {"prior": prior_hash} | ({"expert_f": first_hash} if second.config.regress else {})
    frozen = Frozen(
        prior.to(memory_format=torch.contiguous_format),  # type: ignore[call-overload]
        cast(ExpertF, first) if second.config.regress else None,
    )
    gate, gate_hash = load_network("gate", options.gate or None)
    graphs = {
        "expert_f": (expert_f_graph(cast(ExpertF, expert_f)), {"expert_f": f_hash}),
        "expert_t": (expert_t_graph(second, frozen), {"expert_t": t_hash, **under}),
        "gate": (gate_graph(cast(Gate, gate)), {"gate": gate_hash}),
    }
    written = []
    for name, (graph, weights) in graphs.items():
        path = Path(options.dst) / f"{name}.onnx"
        write_graph(graph, path, weights)
        error = difference(graph, path)
        if error > PARITY:
            path.unlink()
            raise WeightsError(f"{path}: differs from torch by {error:.2g}, expected at most {PARITY}; not kept")
        log.info("%s: %.1f MB, differs from torch by %.1g at most", path, path.stat().st_size / 1e6, error)
        written.append(path)
    return written


def difference(graph: Graph, path: Path) -> float:
    """The largest difference of the first output, between torch and ONNX Runtime, on the graph's examples."""
    with torch.inference_mode():
        outputs = graph.net(*graph.inputs.values())
    ours = (outputs[0] if isinstance(outputs, tuple) else outputs).numpy()
    theirs = open_graph(path)({name: tensor.numpy() for name, tensor in graph.inputs.items()})[0]
    return float(np.abs(ours - theirs).max())
