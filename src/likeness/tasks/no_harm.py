"""Does a good face survive? `python -m likeness.tasks.no_harm` writes experiments/no_harm.

Undegraded held-out faces become photos with a face of known width, go through the whole pipeline,
and are compared with the original (at upscale 2, beside plain resizing) and with the photo itself
(at upscale 1).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.progress import track

from likeness.data.faces import read_face, read_manifest, resize_face, split_records
from likeness.errors import DataError, LikenessError
from likeness.evaluation import provenance
from likeness.evaluation.statistics import Interval, bootstrap
from likeness.metrics.psnr import psnr
from likeness.ops.color import to_float
from likeness.ops.geometry import EYE_DISTANCE_256, rescale_points, template
from likeness.pipeline.config import RestorerConfig, WeightsConfig
from likeness.pipeline.restorer import Restorer
from likeness.tasks.arguments import parse
from likeness.types import Faces, FloatArray, Pixels


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


WIDTHS = (60.0, 80.0, 120.0, 140.0, 200.0)  # Expert-T's, Expert-F's where they are sharp, and what is left alone


@dataclass(frozen=True)
class Harm:
    """One face at one width: figures of restored and plain, and what the router said."""

    width: float
    route: str
    psnr_restored: float
    psnr_plain: float
    distance_restored: float
    distance_plain: float
    psnr_same_size: float
    distance_same_size: float


def _tensor(pixels: Pixels) -> torch.Tensor:
    return torch.from_numpy(to_float(pixels)).permute(2, 0, 1)[None]


def _at(pixels: Pixels, size: int) -> Pixels:
    shrink = pixels.shape[0] > size
    return cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_CUBIC)


def examine(restorers: dict[int, Restorer], truth: Pixels, width: float) -> Harm:
    """Runs one (512, 512, 3) face as a photo of face width `width`."""
    size = round(256 * width / (2 * EYE_DISTANCE_256))
    photo = resize_face(truth, size)
    points = rescale_points(template(512), size / 512).astype(np.float32)
    face = Faces(np.array([[0, 0, size, size]], np.float32), np.ones(1, np.float32), points[None])
    embedder = restorers[1].models.embedder

    def embedding(pixels: Pixels) -> torch.Tensor:
        return embedder.embed_aligned(_tensor(_at(pixels, 512)))

    twice = restorers[2].image(photo, face)
    same = restorers[1].image(photo, face)
    plain = cv2.resize(photo, (2 * size, 2 * size), interpolation=cv2.INTER_LANCZOS4)
    true = embedding(truth)
    a, b = _at(twice.pixels, 512), _at(plain, 512)
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
            return _figure(bootstrap(lambda m: m[:, 0], np.array(values)[:, None]))

        same = [r.psnr_same_size for r in part]
        lines.append(
            f"| {width:.0f} | {len(part)} | {', '.join(f'{n} {c}' for n, c in routes.items())} | "
            f"{paired([r.psnr_restored - r.psnr_plain for r in part])} | "
            f"{paired([r.distance_restored - r.distance_plain for r in part])} | {paired(same)} | {min(same):.1f} | "
            f"{paired([r.distance_same_size for r in part])} |"
        )
    return lines


def _figure(interval: Interval) -> str:
    return f"{interval.value:.4f} [{interval.low:.4f}, {interval.high:.4f}]"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    try:
        options = parse(NoHarmOptions, sys.argv[1:] if arguments is None else arguments, __doc__ or "")
        data = os.environ.get("LIKENESS_DATA")
        if not options.root and not data:
            raise DataError("no_harm: no faces; give root=DIR (made by likeness.tasks.prepare) or set LIKENESS_DATA")
        root = Path(options.root or f"{data}/faces")
        records = [r for r in split_records(read_manifest(root), "val") if r.kind == "real" and r.sharp]
        records = records[: options.limit or None]
        config = RestorerConfig(weights=WeightsConfig(expert_f=options.expert_f, expert_t=options.expert_t))
        restorers = {k: Restorer(replace(config, upscale=str(k))) for k in (1, 2)}
        results = []
        for record in track(records, "examining", disable=not sys.stderr.isatty()):
            truth: FloatArray | Pixels = read_face(root, record)
            results += [examine(restorers, truth, width) for width in WIDTHS]
        facts = {
            "command": provenance.command(),
            "commit": provenance.commit(),
            "weights": restorers[1].weights_hashes(),
            "versions": provenance.versions(),
            "machine": provenance.machine("cpu"),
        }
    except LikenessError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    lines = table(results)
    folder = Path(options.dst)
    folder.mkdir(parents=True, exist_ok=True)
    text = [
        "# Good faces through the whole pipeline",
        "",
        *lines,
        "",
        "```json",
        json.dumps(facts, indent=1),
        "```",
        "",
    ]
    (folder / "table.md").write_text("\n".join(text) + "\n")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
