"""Networks as ONNX graphs, for ONNX Runtime. Each reads one face at a time.

Beside a graph lies a JSON file of the same name that states which weights it was made of.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from likeness.errors import ConfigError, OutputError, WeightsError
from likeness.nets.blocks import without_complex_numbers
from likeness.nets.code_smoothing import CodeSmoothing, CodeState
from likeness.nets.expert_f import ExpertF
from likeness.nets.expert_t import ExpertT
from likeness.nets.expert_t_data import Frozen, Knobs
from likeness.nets.gate import FEATURES, Gate
from likeness.weights.networks import load_network, load_prior

OPSET = 20
SIZE = 256
STATE = ("state_clean", "state_codes", "state_weight")  # the fields of `CodeState`


@dataclass(frozen=True)
class Graph:
    """A network with named inputs and outputs.

    Attributes:
        net: takes the inputs in order.
        inputs: an example of each by its name.
        outputs: their names.
    """

    net: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: Sequence[str]


class _Face(nn.Module):
    def __init__(self, net: ExpertF) -> None:
        super().__init__()
        self.net = net

    def forward(self, face: Tensor) -> tuple[Tensor, Tensor]:
        out = self.net(face)
        return out.image, out.log_scale


class _Tokens(nn.Module):
    def __init__(self, net: ExpertT, frozen: Frozen) -> None:
        super().__init__()
        self.net, self.prior, self.expert_f = net, frozen.prior, frozen.expert_f

    def forward(
        self,
        face: Tensor,
        fidelity: Tensor,
        quality: Tensor,
        weight: Tensor,
        threshold: Tensor,
        clean: Tensor,
        codes: Tensor,
        frames_weight: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        frozen, knobs = Frozen(self.prior, self.expert_f), Knobs(fidelity, quality)
        smoothing = CodeSmoothing(CodeState(clean, codes, frames_weight), weight, True, threshold)
        out, state = self.net.restore_sequence(face, frozen, knobs, smoothing)
        return out.image, out.log_scale, state.clean, state.codes, state.weight


class _Probabilities(nn.Module):
    def __init__(self, net: Gate) -> None:
        super().__init__()
        self.net = net

    def forward(self, features: Tensor) -> Tensor:
        return (self.net(features) / self.net.temperature).sigmoid()


def expert_f_graph(net: ExpertF) -> Graph:
    """face (1, 3, 256, 256) RGB in [0, 1] to image (1, 3, 512, 512), not clamped, and log_scale (1, 1, 64, 64)."""
    return Graph(_Face(net), {"face": torch.rand(1, 3, SIZE, SIZE)}, ("image", "log_scale"))


def expert_t_graph(net: ExpertT, frozen: Frozen) -> Graph:
    """The same with the networks under it, its knobs and the state of the face's last frame; soft codes.

    Further inputs: fidelity (1,), quality (1,), the frame's weight (1,), code_smoothing () as in `CodeSmoothing`, and
    the state: `STATE`, zeros for a new face. Further outputs: the state for the next frame.
    """
    state = net.initial_state()
    inputs = {
        "face": torch.rand(1, 3, SIZE, SIZE),
        "fidelity": torch.full((1,), 0.5),
        "quality": torch.ones(1),
        "weight": torch.ones(1),
        "code_smoothing": torch.tensor(0.5),
        **dict(
            zip(STATE, (torch.randn_like(state.clean), torch.randn_like(state.codes), state.weight + 1), strict=True)
        ),
    }
    return Graph(_Tokens(net, frozen), inputs, ("image", "log_scale", *(f"next_{name}" for name in STATE)))


def gate_graph(net: Gate) -> Graph:
    """features (1, 7) in the order of `nets.gate.FEATURES` to (1, 2), see `Gate.probabilities`."""
    return Graph(_Probabilities(net), {"features": torch.rand(1, len(FEATURES)) * 100}, ("probabilities",))


def load_graph(name: str, files: Mapping[str, Path | str]) -> tuple[Graph, Mapping[str, str]]:
    """The graph of a network with its weights, and the sha256 of every file in it, by name.

    Args:
        name: expert_f, expert_t or gate.
        files: by name; for expert_t also the prior and the Expert-F under it.

    Raises:
        WeightsError: if a file is missing or does not fit.
    """
    net, sha256 = load_network(name, files[name])
    weights = {name: sha256}
    if name == "expert_f":
        return expert_f_graph(cast(ExpertF, net)), weights
    if name == "gate":
        return gate_graph(cast(Gate, net)), weights
    prior, weights["prior"] = load_prior(files["prior"])
    prior = prior.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    second, first = cast(ExpertT, net), None
    if second.config.regress:
        first, weights["expert_f"] = load_network("expert_f", files["expert_f"])
    return expert_t_graph(second, Frozen(prior, cast(ExpertF, first))), weights


def write_graph(graph: Graph, path: Path, weights: Mapping[str, str]) -> None:
    """Writes the ONNX file and, beside it, the weights that it contains.

    Args:
        graph: the network; it is set to evaluation.
        path: ends in .onnx.
        weights: sha256 of every weight file in it, by name.

    Raises:
        ConfigError: if what torch needs to write ONNX is not installed.
        OutputError: if a file cannot be written.
    """
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"format: got onnx, which needs {' and '.join(missing)}: pip install 'likeness[onnx]'")

    net = without_complex_numbers(graph.net.eval(), list(graph.inputs.values()))
    # Attention in plain steps: torch's fused kernel for the CPU has no translation.
    with _quiet(), sdpa_kernel(SDPBackend.MATH):
        program = torch.onnx.export(
            net, tuple(graph.inputs.values()), dynamo=True, opset_version=OPSET, verbose=False,
            input_names=list(graph.inputs), output_names=list(graph.outputs),
        )  # fmt: skip
    assert program is not None  # it is None only where torch itself writes the file
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        program.save(str(partial))
        facts = {
            "opset": OPSET,
            "inputs": {name: list(tensor.shape) for name, tensor in graph.inputs.items()},
            "weights": dict(weights),
        }
        path.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n")
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"dst: cannot write {path} ({error}); give another folder") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the line that the writers log for every constant which they touch or leave as it is."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def check_graph(path: Path, weights: Mapping[str, str]) -> Mapping[str, tuple[int, ...]]:
    """The inputs of a file, with their shapes, if it was made of these weights.

    Raises:
        WeightsError: if it is missing, was made of others or by a release whose graphs had no such inputs.
    """
    again = "write it with `python -m likeness.tasks.export format=onnx dst=DIR`"
    try:
        stored: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise WeightsError(f"weights.onnx: {path} or the JSON file beside it is missing ({error}); {again}") from error
    if not path.is_file() or stored.get("weights") != dict(weights):
        raise WeightsError(f"weights.onnx: {path} was made of other weights than those in use; {again}")
    if "inputs" not in stored:
        raise WeightsError(f"weights.onnx: {path} was written by an earlier release; {again}")
    return {name: tuple(shape) for name, shape in stored["inputs"].items()}
