"""Measures the ranges of the experts' activations, for int8: `python -m likeness.tasks.calibrate_int8`.

Runs the experts' graphs in fp32 on `calib` faces, which no network was trained on, each degraded by every recipe.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from likeness.data.degradations.recipes import RECIPES, check_recipes
from likeness.data.degradations.stills import degrade
from likeness.data.faces import read_face
from likeness.evaluation.benchmarks.faces import face_folder, real_faces
from likeness.ops.color import to_float
from likeness.ops.tensors import stack_crops
from likeness.tasks import arguments
from likeness.types import FloatArray
from likeness.weights.int8 import Inputs, measure_ranges, write_ranges
from likeness.weights.manifest import under_expert_t
from likeness.weights.onnx import SIZE, STATE, load_graph, write_graph

EXPERTS = ("expert_f", "expert_t")
# By place in the graph: quantised alone, they change the picture most (experiments/int8).
FP32 = {"expert_f": (0, 17, 18, 25, 26, 38, 47), "expert_t": (0, 17, 18, 25, 26, 36, 50, 51, 85, 87, 88, 89)}
FIDELITIES = (0.0, 0.5, 1.0)  # the default and both ends


@dataclass
class CalibrateInt8Options:
    """Options of the command.

    Attributes:
        root: folder of aligned faces with a manifest; by default LIKENESS_DATA/faces.
        dst: the JSON file to write.
        faces: that are used.
        recipes: by which each of them is degraded.
        seed: of the degradations.
        expert_f, expert_t, prior: weight files; empty = the released ones.
    """

    root: str = ""
    dst: str = "data/weights/int8.json"
    faces: int = 8
    recipes: list[str] = field(default_factory=lambda: ["clean", *RECIPES])
    seed: int = 0
    expert_f: str = ""
    expert_t: str = ""
    prior: str = ""


def degraded_crops(options: CalibrateInt8Options) -> list[FloatArray]:
    """Every face by every recipe, (256, 256, 3) in [0, 1]."""
    root = face_folder(options.root)
    crops = []
    for number, record in enumerate(real_faces(root, options.faces, "calib")):
        face = read_face(root, record, SIZE)
        for which, recipe in enumerate(options.recipes):
            rng = np.random.default_rng([options.seed, number, which])
            crops.append(to_float(degrade(face, recipe, rng)[0]))
    return crops


def run(options: CalibrateInt8Options) -> None:
    """Measures and writes the file.

    Raises:
        ConfigError: for an unknown recipe.
        DataError: where no faces are named.
        WeightsError: if a weight file is missing or does not fit.
    """
    check_recipes(name for name in options.recipes if name != "clean")
    crops = degraded_crops(options)
    files = {name: getattr(options, name) for name in (*EXPERTS, "prior")}
    under = {**files, "expert_f": under_expert_t(options.expert_t, options.expert_f)}
    measured = {}
    for name, used in (("expert_f", files), ("expert_t", under)):
        graph, weights = load_graph(name, used)
        with TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.onnx"
            write_graph(graph, path, weights)
            others = {k: v for k, v in graph.inputs.items() if k != "face"}
            ranges = measure_ranges(path, _inputs(name, crops, others))
            measured[name] = weights, [replace(c, int8=i not in FP32[name]) for i, c in enumerate(ranges)]
    write_ranges(Path(options.dst), measured)


def _inputs(name: str, crops: Sequence[FloatArray], others: Mapping[str, Tensor]) -> Iterator[Inputs]:
    """Each crop as a new face, which has no state; Expert-T's fidelity varies from crop to crop."""
    values = {key: (torch.zeros_like(value) if key in STATE else value).numpy() for key, value in others.items()}
    for number, crop in enumerate(track(crops, name, disable=not sys.stderr.isatty())):
        if "fidelity" in values:
            values["fidelity"] = np.array([FIDELITIES[number % len(FIDELITIES)]], np.float32)
        yield {"face": stack_crops([crop], torch.device("cpu")).numpy(), **values}


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(CalibrateInt8Options, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
