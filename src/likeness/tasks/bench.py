"""Measures the cost of a face and of a clip: `python -m likeness.tasks.bench` writes experiments/bench.

Milliseconds of the networks (batch 1 and 4; fp32, and bf16 and int8 where the CPU has them); frames per second of clips
with moving faces in every preset, milliseconds by stage, and peak memory; with `others=true` also the networks of
GFPGAN, RestoreFormer and CodeFormer with random weights, on which their cost does not depend. Median and range, with
the name of the machine. Run nothing else beside it.
"""

from __future__ import annotations

import importlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track

from likeness.compat import cpu_has_bf16
from likeness.evaluation.report import provenance
from likeness.nets.face_embedder import load_embedder, weights_file
from likeness.pipeline.config import from_overrides
from likeness.pipeline.models import load_models
from likeness.pipeline.restorer import Restorer
from likeness.stages.detect.mtcnn import MtcnnDetector
from likeness.stages.restore.base import Expert
from likeness.stages.restore.expert_f import load_expert_f
from likeness.stages.restore.expert_t import load_expert_t
from likeness.tasks import arguments
from likeness.tasks.clips import four_moving, moving, write_clip
from likeness.types import Pixels
from likeness.weights.int8 import int8_runs

PRESETS = ("speed", "balanced", "quality")
EXPERT_T = "Expert-T, with Expert-F and the prior under it"

# Published face restorers: the module that holds the network, its class and its arguments.
OTHERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "GFPGAN": (
        "spandrel.architectures.GFPGAN",
        "GFPGAN",
        {
            "out_size": 512, "num_style_feat": 512, "channel_multiplier": 2, "fix_decoder": False, "num_mlp": 8,
            "input_is_latent": True, "different_w": True, "narrow": 1, "sft_half": True,
        },
    ),
    "RestoreFormer": ("spandrel.architectures.RestoreFormer", "RestoreFormer", {}),
    "CodeFormer": ("spandrel_extra_arches.architectures.CodeFormer", "CodeFormer", {}),
}  # fmt: skip


@dataclass
class BenchOptions:
    """Options of the command.

    Attributes:
        dst: folder of the table.
        runs: timed runs of a network, after three that warm up; a fifth of them for the large ones of others.
        frames: of each clip.
        threads: torch's threads, 0 = torch's choice.
        others: time published restorers' networks too (spandrel_extra_arches holds CodeFormer's).
    """

    dst: str = "experiments/bench"
    runs: int = 30
    frames: int = 75
    threads: int = 0
    others: bool = False


@dataclass(frozen=True)
class Row:
    """One line of the table: milliseconds of each run per face, of one network at one precision and batch."""

    what: str
    precision: str
    batch: int
    times: Sequence[float]

    @property
    def median(self) -> float:
        """Milliseconds a face."""
        return statistics.median(self.times)

    def markdown(self) -> str:
        """The line."""
        middle, low, high = self.median, min(self.times), max(self.times)
        return f"| {self.what} | {self.precision} | {self.batch} | {middle:.1f} | {low:.1f} | {high:.1f} |"


def timed(function: Callable[[], object], runs: int, warm: int = 3) -> list[float]:
    """Milliseconds of each of `runs` calls, after `warm` calls that are not counted."""
    for _ in range(warm):
        function()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        times.append(1000 * (time.perf_counter() - start))
    return times


def precisions() -> tuple[str, ...]:
    """Precisions that this CPU computes in."""
    return ("fp32", "bf16") if cpu_has_bf16() else ("fp32",)


def networks(runs: int) -> Iterator[Row]:
    """This package's networks, and dlib's recogniser where it is installed."""
    crop = np.random.default_rng(0).random((256, 256, 3), np.float32)
    for precision in precisions():
        bf16 = precision == "bf16"
        experts: dict[str, Expert] = {"Expert-F": load_expert_f(bf16=bf16), EXPERT_T: load_expert_t(bf16=bf16)}
        for name, expert in experts.items():
            for batch in (1, 4):
                times = timed(lambda e=expert, n=batch: e.restore([crop] * n), runs)  # type: ignore[misc]
                yield Row(name, precision, batch, [t / batch for t in times])
    if int8_runs():
        models = load_models(from_overrides(["runtime=auto", "device=cpu"]))
        for name, expert in (("Expert-F", models.experts["expert_f"]), (EXPERT_T, models.experts["expert_t"])):
            yield Row(name, "int8", 1, timed(lambda e=expert: e.restore([crop]), runs))  # type: ignore[misc]
    embedder, view = load_embedder(), torch.rand(1, 3, 256, 256)
    with torch.inference_mode():
        yield Row("embedder, one view", "fp32", 1, timed(lambda: embedder.embed_aligned(view), runs))
    if find_spec("dlib"):
        dlib = importlib.import_module("dlib")
        net, chip = dlib.face_recognition_model_v1(str(weights_file())), np.zeros((150, 150, 3), np.uint8)
        yield Row("dlib's own of the same network", "fp32", 1, timed(lambda: net.compute_face_descriptor(chip), runs))
    detector, frame = MtcnnDetector(), next(moving(1))
    yield Row("MTCNN, a 640x480 frame", "fp32", 1, timed(lambda: detector.detect([frame]), runs))


def published(runs: int) -> Iterator[Row | str]:
    """Networks of other restorers with random weights, one 512 face each; a line of text where one is missing."""
    face = torch.rand(1, 3, 512, 512)
    for name, (module, kind, options) in OTHERS.items():
        if not find_spec(module.partition(".")[0]):
            yield f"{name} was not timed: {module.partition('.')[0]} is not installed"
            continue
        net = getattr(importlib.import_module(module), kind)(**options).eval()
        for precision in precisions():
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                yield Row(f"{name}'s network, random weights", precision, 1, timed(lambda n=net: n(face), runs, 1))  # type: ignore[misc]
        del net


def ratios(rows: Sequence[Row]) -> list[str]:
    """Cost of the experts relative to the other networks, for one face at the same precision; int8 to their fp32."""
    single = [r for r in rows if r.batch == 1]
    ours = [r for r in single if r.what in ("Expert-F", EXPERT_T)]
    others = [r for r in single if r.what.partition("'")[0] in OTHERS]
    return [
        f"- {mine.what}{' in int8' if mine.precision == 'int8' else ''} costs 1/{other.median / mine.median:.0f} of "
        f"{other.what.partition(',')[0]} in {other.precision}"
        for mine in ours
        for other in others
        if other.precision == ("fp32" if mine.precision == "int8" else mine.precision)
    ]


@dataclass(frozen=True)
class Scene:
    """A clip of 640x480 to be timed.

    Attributes:
        what: for the table.
        width: of each face in pixels.
        expert: which restores it; auto: the one that the pipeline chooses.
        faces: 1 or 4.
    """

    what: str
    width: float
    expert: str = "auto"
    faces: int = 1

    def frames(self, count: int) -> Iterator[Pixels]:
        """The frames."""
        return moving(count, face=self.width) if self.faces == 1 else four_moving(count, face=self.width)


SCENES = (
    Scene("a face of 80 px", 80, "expert_t"),
    Scene("a face of 80 px", 80, "expert_f"),
    Scene("four faces of 80 px", 80, "expert_t", 4),
    Scene("four faces of 80 px", 80, "expert_f", 4),
)


def clip(scene: Scene, preset: str, count: int) -> tuple[str, dict[str, float]]:
    """Restores a clip end to end; returns its row of the table, and milliseconds a frame by stage."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.mp4", Path(folder) / "out.mp4"
        write_clip(source, scene.frames(count), 20)
        words = [f"preset={preset}", "upscale=1", "device=cpu", f"expert.name={scene.expert}"]
        restorer = Restorer(from_overrides(words))
        restorer.image(next(scene.frames(1)))  # the networks are loaded and warm
        report = restorer.video(source, target)
    totals, faces = report["totals"], report["faces"]
    frames, rate = totals["frames"], totals["frames_per_second"]
    tracked, restored, propagated = (
        sum(f[k] for f in faces) for k in ("frames", "restored_frames", "propagated_frames")
    )
    experts = sorted({f["expert"] for f in faces if f["expert"]})
    counted = f"{restored} of {tracked} | {propagated / max(restored, 1):.0%} | {totals['peak_memory_mb']:.0f}"
    row = f"| {scene.what} | {preset} | {', '.join(experts)} | **{rate:.1f}** | {1000 / rate:.0f} | {counted} |"
    stages = {stage: 1000 * spent / frames for stage, spent in totals["seconds_by_stage"].items()}
    return row, stages


def clips(count: int) -> list[str]:
    """Every scene in every preset, as Markdown: frames a second, then milliseconds of each frame by stage."""
    rows, by_preset = [], dict[str, dict[str, float]]()
    for scene in SCENES:
        for preset in PRESETS:
            row, stages = clip(scene, preset, count)
            rows.append(row)
            if scene is SCENES[0]:
                by_preset[preset] = stages
    names = {name for stages in by_preset.values() for name in stages}
    order = sorted(names, key=lambda name: -by_preset[PRESETS[1]].get(name, 0.0))
    times = [[f"{stages.get(stage, 0.0):.1f}" for stages in by_preset.values()] for stage in order]
    first = f"{SCENES[0].what}, {SCENES[0].expert}"
    return [
        f"{count} frames of 640x480, upscale 1, decoding and encoding included. Peak memory is the process's so far.",
        "",
        "| clip | preset | experts | frames a second | ms a frame | faces restored | of these propagated | peak MB |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
        "",
        f"Milliseconds of each frame by stage, {first}; reading and writing run beside the rest:",
        "",
        f"| stage | {' | '.join(by_preset)} |",
        "|---" * (len(by_preset) + 1) + "|",
        *(f"| {stage} | {' | '.join(each)} |" for stage, each in zip(order, times, strict=True)),
    ]


def measure(options: BenchOptions) -> list[str]:
    """All tables, as lines of Markdown."""
    if options.threads:
        torch.set_num_threads(options.threads)
    clip_lines = clips(options.frames)  # first, so that peak memory is that of the clips
    rows, notes = list(networks(options.runs)), list[str]()
    if len(precisions()) == 1:
        notes.append("- bf16 was not timed: this CPU emulates it")
    if options.others:
        for row in track(
            published(max(3, options.runs // 5)),
            "others",
            total=len(OTHERS) * len(precisions()),
            disable=not sys.stderr.isatty(),
        ):
            if isinstance(row, str):
                notes.append(f"- {row}")
            else:
                rows.append(row)
    head = ["| what | precision | batch | median ms a face | least | largest |", "|---|---|---|---|---|---|"]
    table = [*head, *(r.markdown() for r in rows), "", *ratios(rows), *notes, ""]
    return ["## Networks", "", *table, "## Clips", "", *clip_lines]


def run(options: BenchOptions) -> None:
    """Measures, prints and writes."""
    lines = measure(options)
    facts = {"machine": provenance.machine("cpu")}
    provenance.write_markdown(Path(options.dst) / "table.md", "What a face and a clip cost", lines, facts)
    print("\n".join(lines))


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(BenchOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
