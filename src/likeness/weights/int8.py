"""Experts in int8, for ONNX Runtime: convolutions with quantised weights and activations.

Weights are quantised per channel, activations by ranges that were measured on faces (static QDQ). The ranges of the
released experts are released too, so that a graph can be quantised without faces. A convolution is known by its place
in the graph. Matrix products stay in fp32: on two cores they did not gain.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from likeness.errors import OutputError, WeightsError, needs_extra
from likeness.log import get_logger
from likeness.version import __version__
from likeness.weights.manifest import released
from likeness.weights.onnx import load_graph, write_graph

_LOG = get_logger(__name__)

Inputs = Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class ConvRange:
    """The values that were met at one convolution.

    Attributes:
        kernel: shape of its weights, to tell whether the graph is the one that was measured.
        input, output: least and largest value.
        int8: whether it is quantised; a few stay in fp32 for quality.
    """

    kernel: tuple[int, ...]
    input: tuple[float, float]
    output: tuple[float, float]
    int8: bool = True


def cpu_has_int8() -> bool:
    """Whether this CPU multiplies int8 itself (VNNI or AMX); on others int8 is no faster, or less exact."""
    return bool(torch.cpu._is_vnni_supported() or torch.cpu._is_amx_tile_supported())


def int8_runs() -> bool:
    """Whether experts run in int8 here: the CPU has it, and the extra `onnx` is installed."""
    return cpu_has_int8() and all(map(find_spec, ("onnx", "onnxruntime", "onnxscript", "platformdirs")))


def released_ranges(name: str, weights: Mapping[str, str]) -> list[ConvRange] | None:
    """The ranges of an expert, if they were measured with these weights.

    Args:
        name: expert_f or expert_t.
        weights: sha256 of every weight file in its graph, by name.
    """
    stored = json.loads(released("int8").read_text()).get(name)
    return None if stored is None or stored["weights"] != dict(weights) else _read(stored["convolutions"])


def known_ranges(name: str, weights: Mapping[str, str]) -> list[ConvRange]:
    """As `released_ranges`.

    Raises:
        WeightsError: if there are none.
    """
    ranges = released_ranges(name, weights)
    if ranges is None:
        raise WeightsError(
            f"precision: got int8, but {released('int8')} holds no ranges for these weights of {name}; "
            "give precision=fp32, or measure them: python -m likeness.tasks.calibrate_int8"
        )
    return ranges


def write_ranges(path: Path, measured: Mapping[str, tuple[Mapping[str, str], Sequence[ConvRange]]]) -> None:
    """Writes the ranges of several experts, each with the hashes of its weights."""
    stored = {
        name: {"weights": dict(weights), "convolutions": [asdict(c) for c in ranges]}
        for name, (weights, ranges) in measured.items()
    }
    path.write_text(json.dumps(stored) + "\n")


def _read(stored: Sequence[Mapping[str, Any]]) -> list[ConvRange]:
    return [ConvRange(tuple(c["kernel"]), tuple(c["input"]), tuple(c["output"]), c["int8"]) for c in stored]


def measure_ranges(graph: Path, inputs: Iterable[Inputs]) -> list[ConvRange]:
    """Runs a graph in fp32 and returns the range of each convolution, in their order.

    Args:
        graph: that `write_graph` wrote.
        inputs: by the names of the graph's inputs.
    """
    with _prepared(graph) as (prepared, model):
        from onnxruntime.quantization import CalibrationDataReader, create_calibrator

        class Reader(CalibrationDataReader):  # type: ignore[misc]
            def __init__(self) -> None:
                self.left = iter(inputs)

            def get_next(self) -> Inputs | None:
                return next(self.left, None)

        augmented = str(prepared.with_name("augmented.onnx"))
        calibrator = create_calibrator(prepared, ["Conv"], augmented)
        calibrator.collect_data(Reader())
        found = {
            name: tuple(float(np.ravel(v)[0]) for v in data.range_value)
            for name, data in calibrator.compute_data().items()
        }
        return [
            ConvRange(kernel, _rounded(found[node.input[0]]), _rounded(found[node.output[0]]))
            for node, kernel in _convolutions(model)
        ]


def _rounded(values: Sequence[float]) -> tuple[float, float]:
    low, high = (float(f"{value:.6g}") for value in values)
    return low, high


def quantise(graph: Path, ranges: Sequence[ConvRange]) -> None:
    """Replaces a graph by its int8 version; the JSON file beside it says so.

    Raises:
        WeightsError: if its convolutions are not those that were measured.
    """
    with _prepared(graph) as (_, model):
        from onnxruntime.quantization import CalibrationMethod, QuantType
        from onnxruntime.quantization.calibrate import TensorsData
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        nodes = _convolutions(model)
        if [kernel for _, kernel in nodes] != [c.kernel for c in ranges]:
            raise WeightsError(
                f"{graph}: got {len(nodes)} convolutions, expected the {len(ranges)} whose ranges are known, of their "
                "shapes; install the versions of constraints.txt, or measure: python -m likeness.tasks.calibrate_int8"
            )
        limits, chosen = {}, []
        for (node, _), known in zip(nodes, ranges, strict=True):
            chosen += [node.name] * known.int8
            for tensor, (low, high) in ((node.input[0], known.input), (node.output[0], known.output)):
                limits[tensor] = (np.float32(low), np.float32(high))
        quantizer = QDQQuantizer(
            model, True, False, QuantType.QInt8, QuantType.QUInt8, TensorsData(CalibrationMethod.MinMax, limits),
            chosen, [], ["Conv"], {},
        )  # fmt: skip
        quantizer.quantize_model()
        partial = graph.with_name(graph.name + ".partial")
        quantizer.model.save_model_to_file(str(partial))
        facts = graph.with_suffix(".json")
        facts.write_text(json.dumps({**json.loads(facts.read_text()), "precision": "int8"}, indent=1) + "\n")
        partial.replace(graph)


def cached_folder(name: str, files: Mapping[str, Path | str], weights: Mapping[str, str]) -> Path:
    """The folder of an expert's int8 graph in the user's cache, written when it is first needed.

    Args:
        name: expert_f or expert_t.
        files: weight files, see `load_graph`.
        weights: their sha256.

    Raises:
        WeightsError: if there are no ranges for these weights, or not of the graph that torch writes here.
        OutputError: if the cache cannot be written.
    """
    with needs_extra("onnx", "runtime=auto"):
        from platformdirs import user_cache_path
    ranges = known_ranges(name, weights)
    facts = json.dumps([__version__, torch.__version__, dict(weights), [asdict(c) for c in ranges]], sort_keys=True)
    folder = user_cache_path("likeness") / f"{name}-int8-{hashlib.sha256(facts.encode()).hexdigest()[:16]}"
    if folder.is_dir():
        return folder
    _LOG.info("%s in int8: written once to %s, which takes a minute", name, folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent) as partial:
            graph, _ = load_graph(name, files)
            path = Path(partial) / name / f"{name}.onnx"
            write_graph(graph, path, weights)
            quantise(path, ranges)
            if not folder.is_dir():  # another process may have been faster
                path.parent.rename(folder)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written ({error}); set XDG_CACHE_HOME, or give runtime=torch"
        ) from error
    return folder


@contextmanager
def _prepared(graph: Path) -> Iterator[tuple[Path, Any]]:
    """A graph with constants folded and shapes inferred, as a temporary file and in memory."""
    with needs_extra("onnx", "precision=int8"):
        import onnx
        from onnxruntime.quantization.shape_inference import quant_pre_process
    with TemporaryDirectory() as folder:
        prepared = Path(folder) / graph.name
        quant_pre_process(str(graph), str(prepared), skip_symbolic_shape=True)
        yield prepared, onnx.load(str(prepared))


def _convolutions(model: Any) -> list[tuple[Any, tuple[int, ...]]]:
    """The convolutions with constant weights, in the graph's order, and the shapes of their weights."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type == "Conv" and node.input[1] in shapes]
    return [(node, shapes[node.input[1]]) for node in nodes]
