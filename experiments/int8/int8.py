"""What int8 costs: `python experiments/int8/int8.py fp32=DIR int8=DIR`.

Both folders are written by `likeness export format=onnx dst=DIR precision=fp32|int8`. On held-out faces the experts run
in fp32 and bf16 by torch, and in fp32 and int8 by ONNX Runtime. Processors without VNNI or AMX may overflow in int8:
there the quantised graph is computed in fp32 on the rounded values, which gives the same picture, and not timed.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from omegaconf import MISSING
from rich.progress import track

from likeness.compat import cpu_has_bf16
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
from likeness.stages.restore.base import Expert
from likeness.stages.restore.expert_f import load_expert_f
from likeness.stages.restore.expert_t import KnobsConfig, load_expert_t
from likeness.stages.restore.onnx import OnnxExpert, Run, load_onnx
from likeness.tasks import arguments
from likeness.types import FloatArray
from likeness.weights.files import file_hash
from likeness.weights.int8 import cpu_has_int8
from likeness.weights.manifest import released

FIGURES = {"PSNR": ".2f", "LPIPS": ".4f", "judge": ".4f", "specks": ".2f", "streaks": ".4f"}
MADE_OF = {"expert_f": ("expert_f",), "expert_t": ("expert_t", "prior", "expert_f")}
KNOBS = KnobsConfig(pool=False, code_smoothing=0.0)
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


def load_expert(name: str, precision: str, options: Int8Options) -> Expert:
    """An expert by the runtime that `precision` names; without VNNI or AMX int8 is computed by `exact`."""
    if precision in ("fp32", "bf16"):
        bf16 = precision == "bf16"
        return load_expert_f(bf16=bf16) if name == "expert_f" else load_expert_t(knobs=KNOBS, bf16=bf16)
    weights = {n: file_hash(released(n)) for n in MADE_OF[name]}
    folder = options.int8 if precision == "int8" else options.fp32
    expert: OnnxExpert = load_onnx(name, folder, weights, KNOBS)
    if precision == "int8" and not cpu_has_int8():
        expert.run = exact(Path(folder) / f"{name}.onnx")
    return expert


def restore(expert: Expert, crops: Sequence[FloatArray], label: str) -> tuple[list[FloatArray], float]:
    """The restored faces, one at a time, and the median of their milliseconds."""
    restored, times = [], []
    for crop in track(crops, label, disable=not sys.stderr.isatty()):
        start = time.perf_counter()
        restored.append(expert.restore([crop])[0].image)
        times.append(1000 * (time.perf_counter() - start))
    return restored, statistics.median(times)


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


def table(values: dict[tuple[str, str], Values], times: dict[tuple[str, str], float]) -> list[str]:
    """Rows by expert and precision, with milliseconds a face where they were read; also as differences from fp32."""
    lines = [f"| expert | precision | ms | {' | '.join(FIGURES)} |", f"|---|---|---|{'---|' * len(FIGURES)}"]
    for (name, precision), rows in values.items():
        cells = [interval_text(mean(column), form) for column, form in zip(rows.T, FIGURES.values(), strict=True)]
        spent = f"{times[name, precision]:.1f}" if (name, precision) in times else ""
        lines.append(f"| {name} | {precision} | {spent} | {' | '.join(cells)} |")
        if precision != "fp32":
            pairs = zip(rows.T, values[name, "fp32"].T, FIGURES.values(), strict=True)
            cells = [interval_text(difference(a, b), f"+{form}") for a, b, form in pairs]
            lines.append(f"| {name} | {precision} - fp32 | | {' | '.join(cells)} |")
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
    values, times = {}, {}
    for name in options.experts:
        for precision in ("fp32", *["bf16"] * cpu_has_bf16(), "fp32, ONNX Runtime", "int8"):
            expert = load_expert(name, precision, options)
            restored, spent = restore(expert, crops, f"{name}, {precision}")
            values[name, precision] = figures_of(restored, truths)
            if precision != "int8" or cpu_has_int8():
                times[name, precision] = spent
    lines = table(values, times)
    head = f"{len(truths)} held-out faces, each degraded by one of {', '.join(options.recipes)}; at 512, judge at 256."
    write_markdown(Path(options.dst), "fp32, bf16 and int8", [head, "", *lines], {"machine": machine("cpu")})
    print("\n".join(lines))


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(Int8Options, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
