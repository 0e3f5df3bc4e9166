"""The experts on other runtimes: graphs that `likeness.tasks.export format=onnx` wrote, one face at a time."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from likeness.errors import ConfigError, WeightsError
from likeness.nets.expert_f import INPUT_SIZE, OUTPUT_SIZE
from likeness.stages.restore.base import split_faces, stack_crops
from likeness.types import FloatArray, Restored
from likeness.weights.files import file_hash

RUNTIMES = ("torch", "onnx", "openvino")
Array = npt.NDArray[np.float32]
Run = Callable[[Mapping[str, Array]], Sequence[Array]]


class PortableExpert:
    """See `Expert`; reads 256, writes 512.

    Args:
        name: of the expert.
        run: the graph: named inputs to the image (1, 3, 512, 512) and the logarithm of the error's scale.
        knobs: further inputs of the graph, by name.
        sha256: of the file.
        half: the scale at which confidence is one half.
    """

    input_size, output_size = INPUT_SIZE, OUTPUT_SIZE

    def __init__(
        self, name: str, run: Run, knobs: Mapping[str, float] | None = None, sha256: str = "", half: float = 0.02
    ) -> None:
        self.name, self.run, self.sha256, self.half = name, run, sha256, half
        self.knobs = {key: np.array([value], np.float32) for key, value in (knobs or {}).items()}

    def restore(self, crops: Sequence[FloatArray]) -> list[Restored]:
        """Restores (256, 256, 3) float32 crops, one after another.

        Raises:
            InputError: if a crop has another shape.
        """
        done: list[Restored] = []
        for crop in crops:
            face = stack_crops([crop], self.input_size, self.name, torch.device("cpu")).numpy()
            image, log_scale = (torch.from_numpy(np.asarray(o)) for o in self.run({"face": face, **self.knobs}))
            done += split_faces(image, log_scale, self.half)
        return done


def open_graph(path: Path, runtime: str, bf16: bool = False) -> Run:
    """A graph, ready to run on the CPU with as many threads as torch has; threads may share it.

    Raises:
        ConfigError: for an unknown or missing runtime, or a precision that it does not have.
        WeightsError: if the file cannot be read.
    """
    if runtime == "onnx":
        if bf16:
            raise ConfigError("runtime: got onnx with bf16, which it lacks; give runtime=openvino or precision=fp32")
        return _onnx(path)
    if runtime == "openvino":
        return _openvino(path, bf16)
    raise ConfigError(f"runtime: got {runtime!r}, expected {', '.join(RUNTIMES)}")


def load_portable(
    name: str, folder: Path | str, runtime: str, knobs: Mapping[str, float] | None = None, bf16: bool = False
) -> PortableExpert:
    """An expert of a folder that `likeness.tasks.export format=onnx` wrote."""
    path = Path(folder) / f"{name}.onnx"
    return PortableExpert(name, open_graph(path, runtime, bf16), knobs, file_hash(path))


def _onnx(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own classes share no base below Exception
        raise WeightsError(f"weights.onnx: {path} cannot be read ({error}); write it again") from error
    return lambda inputs: [np.asarray(o) for o in session.run(None, dict(inputs))]


def _openvino(path: Path, bf16: bool) -> Run:
    if find_spec("openvino") is None:
        raise ConfigError("runtime: got openvino, which is not installed; pip install 'likeness[openvino]'")
    openvino: Any = importlib.import_module("openvino")
    options = {
        "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
    }
    try:
        compiled = openvino.Core().compile_model(str(path), "CPU", options)
    except RuntimeError as error:
        raise WeightsError(f"weights.onnx: {path} cannot be read ({error}); write it again") from error

    def run(inputs: Mapping[str, Array]) -> Sequence[Array]:
        # A request of its own for every call: one cannot be shared by threads, and its outputs are overwritten.
        found = compiled.create_infer_request().infer(dict(inputs))
        return [np.array(found[output]) for output in compiled.outputs]

    return run
