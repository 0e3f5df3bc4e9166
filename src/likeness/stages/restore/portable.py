"""The experts on other runtimes: graphs that `likeness.tasks.export format=onnx` wrote, one face at a time."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from likeness.errors import ConfigError, WeightsError
from likeness.nets.expert_f import INPUT_SIZE, OUTPUT_SIZE
from likeness.stages.restore.base import ExposedExpert, ExposedFollower, split_faces, stack_crops
from likeness.stages.restore.expert_t import KnobsConfig
from likeness.types import Before, FloatArray, Restored
from likeness.weights.files import file_hash
from likeness.weights.portable import PAST, check_graph

RUNTIMES = ("torch", "onnx", "openvino")
Array = npt.NDArray[np.float32]
Run = Callable[[Mapping[str, Array]], Sequence[Array]]


class PortableExpert(ExposedExpert):
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
        self, name: str, run: Run, knobs: Mapping[str, Array] | None = None, sha256: str = "", half: float = 0.02
    ) -> None:
        self.name, self.run, self.knobs, self.sha256, self.half = name, run, dict(knobs or {}), sha256, half

    def _restore(self, crops: Sequence[FloatArray]) -> list[Restored]:
        return [self._restored(crop, {})[0] for crop in crops]

    def _restored(self, crop: FloatArray, inputs: Mapping[str, Array]) -> tuple[Restored, Sequence[Array]]:
        """One crop, with inputs beside the knobs; and the graph's further outputs."""
        face = stack_crops([crop], torch.device("cpu")).numpy()
        image, log_scale, *others = self.run({"face": face, **self.knobs, **inputs})
        (restored,) = split_faces(torch.from_numpy(image), torch.from_numpy(log_scale), self.half)
        return restored, others


class PortableExpertT(PortableExpert, ExposedFollower):
    """Expert-T on another runtime; see `FollowingExpert`. Texture is pooled wherever codes are held.

    Args:
        run, knobs, sha256, half: as of every graph.
        past: what stands for the past of a face that was not seen before, by input.
        hold: distance from which a code displaces the last one; None follows no face.
    """

    def __init__(
        self,
        run: Run,
        knobs: Mapping[str, Array],
        past: Mapping[str, Array],
        hold: float | None = None,
        sha256: str = "",
        half: float = 0.02,
    ) -> None:
        alone = {"weight": np.ones(1, np.float32), "hold": np.array(hold or 0, np.float32), **past}
        super().__init__("expert_t", run, {**knobs, **alone}, sha256, half)
        self.follows = hold is not None

    def _follow(self, crops: Sequence[FloatArray], befores: Sequence[Before]) -> list[Restored]:
        done = []
        for crop, before in zip(crops, befores, strict=True):
            given = {"weight": np.array([before.weight], np.float32)}
            if before.past is not None:
                given |= dict(zip(PAST, before.past, strict=True))
            restored, past = self._restored(crop, given)
            done.append(replace(restored, past=tuple(past)))
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
    name: str, folder: Path | str, runtime: str, weights: Mapping[str, str], knobs: KnobsConfig, bf16: bool = False
) -> PortableExpert:
    """An expert of a folder that `likeness.tasks.export format=onnx` wrote.

    Args:
        name: expert_f or expert_t.
        folder: where its file lies.
        runtime: onnx or openvino.
        weights: sha256 of every weight file that it must have been made of, by name.
        knobs: Expert-T's.
        bf16: compute in that precision.

    Raises:
        WeightsError: if it is missing or was made of others.
        ConfigError: if the runtime is missing, or cannot do what is asked of it.
    """
    path = Path(folder) / f"{name}.onnx"
    shapes = check_graph(path, weights)
    run, sha256 = open_graph(path, runtime, bf16), file_hash(path)
    if name != "expert_t":
        return PortableExpert(name, run, sha256=sha256)
    turned = {key: np.array([getattr(knobs, key)], np.float32) for key in ("fidelity", "quality")}
    past = {key: np.zeros(shapes[key], np.float32) for key in PAST}
    return PortableExpertT(run, turned, past, (knobs.hold or 0.0) if knobs.pool else None, sha256)


def _onnx(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
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
