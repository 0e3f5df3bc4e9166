"""What int8 costs: `python experiments/int8/int8.py fp32=DIR int8=DIR`.

Both folders are written by `likeness export format=onnx dst=DIR precision=fp32|int8`. On held-out faces the experts run
as fp32 and as int8. Processors without VNNI may overflow in int8, so the quantised graph is computed in fp32 on the
rounded values, which is what VNNI and AMX compute.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from omegaconf import MISSING
from rich.progress import track

from likeness.data.faces import read_face
from likeness.evaluation.benchmarks.base import Sample
from likeness.evaluation.benchmarks.faces import every_nth, face_folder, real_faces
from likeness.evaluation.methods.base import at_both_sizes
from likeness.evaluation.protocol.faces import degraded_face
from likeness.evaluation.report.provenance import machine, write_markdown
from likeness.evaluation.report.statistics import difference, mean
from likeness.evaluation.report.tables import interval_text
from likeness.metrics.identity import load_judge
from likeness.metrics.images import round8
from likeness.metrics.lpips import load_lpips
from likeness.metrics.psnr import psnr
from likeness.metrics.specks import specks
from likeness.metrics.streaks import streaks
from likeness.ops.color import to_float
from likeness.ops.resize import resize
from likeness.stages.restore.expert_t import KnobsConfig
from likeness.stages.restore.onnx import OnnxExpert, Run, load_onnx
from likeness.tasks import arguments
from likeness.types import FloatArray
from likeness.weights.files import file_hash
from likeness.weights.manifest import released

FIGURES = {"PSNR": ".2f", "LPIPS": ".4f", "judge": ".4f", "specks": ".2f", "streaks": ".4f"}
MADE_OF = {"expert_f": ("expert_f",), "expert_t": ("expert_t", "prior", "expert_f")}
Values = npt.NDArray[np.float64]  # (faces, figures)


@dataclass
class Int8Options:
    """Options of the command.

    Attributes:
        fp32, int8: folders of graphs.
        root: folder of aligned faces with a manifest; by default LIKENESS_DATA/faces.
        dst: the table.
        experts: that are measured.
        recipes: by which the faces are degraded, in turn.
        faces: drawn from the real ones of `val` that are sharp at 512.
        seed: of the degradations.
    """

    fp32: str = MISSING
    int8: str = MISSING
    root: str = ""
    dst: str = "experiments/int8/table.md"
    experts: list[str] = field(default_factory=lambda: ["expert_f", "expert_t"])
    recipes: list[str] = field(default_factory=lambda: ["mild", "gfpgan", "heavy", "film"])
    faces: int = 24
    seed: int = 0


def exact(path: Path) -> Run:
    """A quantised graph without fusions: its convolutions compute in fp32 on the rounded values."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda inputs: [np.asarray(o) for o in session.run(None, dict(inputs))]


def load_expert(name: str, folder: str, quantised: bool) -> OnnxExpert:
    """An expert of a folder, quantised ones by `exact`."""
    weights = {n: file_hash(released(n)) for n in MADE_OF[name]}
    expert = load_onnx(name, folder, weights, KnobsConfig(pool=False, code_smoothing=0.0))
    if quantised:
        expert.run = exact(Path(folder) / f"{name}.onnx")
    return expert


@torch.no_grad()
def figures_of(restored: Sequence[FloatArray], truths: Sequence[FloatArray]) -> Values:
    """`FIGURES` of (512, 512, 3) pictures in [0, 1] against their truths, after rounding to 8 bits."""
    judge, lpips = load_judge(), load_lpips()
    rows = []
    for picture, truth in zip(restored, truths, strict=True):
        output, wanted = (at_both_sizes("int8", [x], 1) for x in (picture, truth))
        sharp, clean = round8(output[512]), round8(wanted[512])
        a, b = (judge.embed_aligned(round8(x[256])) for x in (output, wanted))
        values = (psnr(sharp, clean), lpips(sharp, clean), (a * b).sum(1), specks(sharp), streaks(sharp))
        rows.append([float(v) for v in values])
    return np.array(rows, np.float64)


def table(values: dict[tuple[str, str], Values]) -> list[str]:
    """Rows by expert and precision; int8's also as its difference from fp32."""
    lines = [f"| expert | precision | {' | '.join(FIGURES)} |", f"|---|---|{'---|' * len(FIGURES)}"]
    for (name, precision), rows in values.items():
        cells = [interval_text(mean(column), form) for column, form in zip(rows.T, FIGURES.values(), strict=True)]
        lines.append(f"| {name} | {precision} | {' | '.join(cells)} |")
        if precision == "int8":
            pairs = zip(rows.T, values[name, "fp32"].T, FIGURES.values(), strict=True)
            cells = [interval_text(difference(a, b), f"+{form}") for a, b, form in pairs]
            lines.append(f"| {name} | int8 - fp32 | {' | '.join(cells)} |")
    return lines


def run(options: Int8Options) -> None:
    """Measures, prints and writes."""
    root = face_folder(options.root)
    records = every_nth([r for r in real_faces(root) if r.sharp], options.faces)
    truths, crops = [], []
    for number, record in enumerate(records):
        pixels = read_face(root, record, 512)
        sample = Sample(record.file, "real", resize(pixels, 256, 256), pixels)
        crops.append(degraded_face(sample, options.recipes[number % len(options.recipes)], options.seed)[0])
        truths.append(to_float(pixels))
    values = {}
    for name in options.experts:
        for precision, folder in (("fp32", options.fp32), ("int8", options.int8)):
            expert = load_expert(name, folder, precision == "int8")
            faces = track(crops, f"{name}, {precision}", disable=not sys.stderr.isatty())
            values[name, precision] = figures_of([expert.restore([crop])[0].image for crop in faces], truths)
    lines = table(values)
    head = f"{len(truths)} held-out faces, each degraded by one of {', '.join(options.recipes)}; at 512, judge at 256."
    write_markdown(Path(options.dst), "int8 against fp32", [head, "", *lines], {"machine": machine("cpu")})
    print("\n".join(lines))


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(Int8Options, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
