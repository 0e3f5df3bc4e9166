"""Measures what the pipeline does to good faces: `python experiments/no_harm/no_harm.py`.

Photos of known face widths are made of undegraded held-out faces and restored by the whole pipeline. Results are
compared with the original (at upscale 2, beside plain resizing) and with the photo itself (at upscale 1).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.progress import track

from likeness.data.faces import read_face
from likeness.evaluation.benchmarks.faces import face_folder, real_faces
from likeness.evaluation.report import provenance
from likeness.evaluation.report.statistics import mean
from likeness.evaluation.report.tables import interval_text
from likeness.metrics.psnr import psnr
from likeness.ops.color import to_float
from likeness.ops.geometry import EYE_DISTANCE_256, rescale_points, template
from likeness.ops.resize import resize
from likeness.ops.tensors import stack_crops
from likeness.pipeline.config import RestorerConfig, WeightsConfig
from likeness.pipeline.restorer import Restorer
from likeness.tasks import arguments
from likeness.types import Faces, Pixels


@dataclass
class NoHarmOptions:
    """Options of the command.

    Attributes:
        root: folder of aligned faces with a manifest; by default LIKENESS_DATA/faces.
        dst: folder of the table.
        limit: faces used, 0 = all real ones of `val` that are sharp at 512.
        expert_f, expert_t: weight files in place of the released ones.
    """

    root: str = ""
    dst: str = "experiments/no_harm"
    limit: int = 0
    expert_f: str = ""
    expert_t: str = ""


WIDTHS = (60.0, 80.0, 120.0, 140.0, 200.0)  # by the rule: two for Expert-T, two for Expert-F, one that is only resized


@dataclass(frozen=True)
class Harm:
    """One face at one width: its route, and the figures of the restored and of the resized photo."""

    width: float
    route: str
    psnr_restored: float
    psnr_plain: float
    distance_restored: float
    distance_plain: float
    psnr_same_size: float
    distance_same_size: float


def _tensor(pixels: Pixels) -> torch.Tensor:
    return stack_crops([to_float(pixels)], torch.device("cpu"))


def examine(restorers: dict[int, Restorer], truth: Pixels, width: float) -> Harm:
    """Runs one (512, 512, 3) face as a photo of face width `width`."""
    size = round(256 * width / (2 * EYE_DISTANCE_256))
    photo = resize(truth, size, size)
    points = rescale_points(template(512), size / 512).astype(np.float32)
    face = Faces(np.array([[0, 0, size, size]], np.float32), np.ones(1, np.float32), points[None])
    embedder = restorers[1].models.embedder

    def embedding(pixels: Pixels) -> torch.Tensor:
        return embedder.embed_aligned(_tensor(resize(pixels, 512, 512)))

    twice = restorers[2].image(photo, face)
    same = restorers[1].image(photo, face)
    plain = cv2.resize(photo, (2 * size, 2 * size), interpolation=cv2.INTER_LANCZOS4)
    true = embedding(truth)
    a, b = resize(twice.pixels, 512, 512), resize(plain, 512, 512)
    return Harm(
        width=width,
        route=same.faces[0].decision.route,
        psnr_restored=float(psnr(_tensor(a), _tensor(truth))),
        psnr_plain=float(psnr(_tensor(b), _tensor(truth))),
        distance_restored=float((embedding(a) - true).norm()),
        distance_plain=float((embedding(b) - true).norm()),
        # An untouched photo has no error at all; 99 dB stands for that in the mean.
        psnr_same_size=min(99.0, float(psnr(_tensor(same.pixels), _tensor(photo)))),
        distance_same_size=float((embedding(same.pixels) - embedding(photo)).norm()),
    )


def table(results: Sequence[Harm]) -> list[str]:
    """Markdown rows, a width each, paired differences with 95 % intervals."""
    lines = [
        "| w | faces | routes | PSNR restored - plain, dB | distance restored - plain | PSNR at upscale 1, dB | "
        "least | distance at upscale 1 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for width in WIDTHS:
        part = [r for r in results if r.width == width]
        routes = {n: sum(r.route == n for r in part) for n in sorted({r.route for r in part})}

        def paired(values: Sequence[float]) -> str:
            return interval_text(mean(np.array(values)), ".4f")

        same = [r.psnr_same_size for r in part]
        lines.append(
            f"| {width:.0f} | {len(part)} | {', '.join(f'{n} {c}' for n, c in routes.items())} | "
            f"{paired([r.psnr_restored - r.psnr_plain for r in part])} | "
            f"{paired([r.distance_restored - r.distance_plain for r in part])} | {paired(same)} | {min(same):.1f} | "
            f"{paired([r.distance_same_size for r in part])} |"
        )
    return lines


def run(options: NoHarmOptions) -> None:
    """Measures, prints and writes.

    Raises:
        DataError: where no faces are named or there are none.
        WeightsError: if a weight file is missing or does not fit.
        OutputError: if the table cannot be written.
    """
    root = face_folder(options.root)
    records = [r for r in real_faces(root) if r.sharp][: options.limit or None]
    config = RestorerConfig(weights=WeightsConfig(expert_f=options.expert_f, expert_t=options.expert_t))
    restorers = {k: Restorer(replace(config, upscale=str(k))) for k in (1, 2)}
    results = []
    for record in track(records, "examining", disable=not sys.stderr.isatty()):
        truth = read_face(root, record)
        results += [examine(restorers, truth, width) for width in WIDTHS]
    lines = table(results)
    facts = {"weights": restorers[1].weights_hashes(), "machine": provenance.machine("cpu")}
    provenance.write_markdown(Path(options.dst) / "table.md", "Good faces through the whole pipeline", lines, facts)
    print("\n".join(lines))


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(NoHarmOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
