"""The experts on ONNX Runtime: graphs that `likeness export format=onnx` writes, one face at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from likeness.errors import WeightsError, needs_extra
from likeness.nets.expert_f import INPUT_SIZE, OUTPUT_SIZE
from likeness.ops.tensors import stack_crops
from likeness.stages.restore.base import BaseExpert, split_faces
from likeness.stages.restore.expert_t import KnobsConfig
from likeness.types import Conditions, FloatArray, Restored
from likeness.weights.files import file_hash
from likeness.weights.onnx import STATE, check_graph

RUNTIMES = ("torch", "onnx", "auto")
Array = npt.NDArray[np.float32]
Run = Callable[[Mapping[str, Array]], Sequence[Array]]


class OnnxExpert(BaseExpert):
    """See `Expert`; reads 256, writes 512.

    Args:
        name: expert_f or expert_t.
        run: the graph: named inputs to the image (1, 3, 512, 512), the logarithm of the error's scale and, where it is
            temporal, the state for the next frame.
        inputs: further inputs of the graph, by name; for a new face also its state.
        temporal: pass the state from frame to frame.
        sha256: of the file.
        half: the scale at which confidence is 0.5.
    """

    input_size, output_size = INPUT_SIZE, OUTPUT_SIZE

    def __init__(
        self,
        name: str,
        run: Run,
        inputs: Mapping[str, Array] | None = None,
        temporal: bool = False,
        sha256: str = "",
        half: float = 0.02,
    ) -> None:
        self.name, self.run, self.inputs, self.temporal = name, run, dict(inputs or {}), temporal
        self.sha256, self.half = sha256, half

    def _restore(self, crops: Sequence[FloatArray], conditions: Sequence[Conditions] | None) -> list[Restored]:
        if conditions is None or not self.temporal:
            return [self._one(crop, {}) for crop in crops]
        return [self._one(crop, self._inputs(c)) for crop, c in zip(crops, conditions, strict=True)]

    def _inputs(self, conditions: Conditions) -> Mapping[str, Array]:
        state = {} if conditions.state is None else dict(zip(STATE, conditions.state, strict=True))
        return {"weight": np.array([conditions.weight], np.float32), **state}

    def _one(self, crop: FloatArray, inputs: Mapping[str, Array]) -> Restored:
        face = stack_crops([crop], torch.device("cpu")).numpy()
        image, log_scale, *state = self.run({"face": face, **self.inputs, **inputs})
        (restored,) = split_faces(torch.from_numpy(image), torch.from_numpy(log_scale), self.half)
        return replace(restored, state=tuple(state)) if self.temporal and inputs else restored


def open_graph(path: Path) -> Run:
    """A graph, ready to run on the CPU with as many threads as torch has; threads may share it.

    Raises:
        WeightsError: if the file cannot be read.
    """
    with needs_extra("onnx", "runtime=onnx"):
        import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base below Exception
        raise WeightsError(f"weights.onnx: {path} cannot be read ({error}); write it again") from error
    return lambda inputs: [np.asarray(o) for o in session.run(None, dict(inputs))]


def load_onnx(name: str, folder: Path | str, weights: Mapping[str, str], knobs: KnobsConfig) -> OnnxExpert:
    """An expert of a folder that `likeness export format=onnx` wrote.

    Args:
        name: expert_f or expert_t.
        folder: with its file.
        weights: sha256 of every weight file that it must have been made of, by name.
        knobs: Expert-T's options.

    Raises:
        WeightsError: if it is missing or was made of others.
    """
    path = Path(folder) / f"{name}.onnx"
    shapes = check_graph(path, weights)
    run, sha256 = open_graph(path), file_hash(path)
    if name != "expert_t":
        return OnnxExpert(name, run, sha256=sha256)
    inputs = {key: np.array([getattr(knobs, key)], np.float32) for key in ("fidelity", "quality")}
    # The graph always pools, so without pooling there is no state to pass.
    smoothing = np.array((knobs.code_smoothing or 0.0) if knobs.pool else 0.0, np.float32)
    inputs |= {"weight": np.ones(1, np.float32), "code_smoothing": smoothing}
    inputs |= {key: np.zeros(shapes[key], np.float32) for key in STATE}
    return OnnxExpert(name, run, inputs, bool(knobs.pool), sha256)
