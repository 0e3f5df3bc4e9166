"""Whole pictures: degraded, restored by the pipeline in several ways, and compared with the truth."""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from likeness.errors import ConfigError, DataError
from likeness.evaluation.benchmarks.base import CROP
from likeness.evaluation.benchmarks.pictures import Picture, astronaut_picture, clip_pictures, lfw_pictures
from likeness.evaluation.benchmarks.registry import OPENERS
from likeness.evaluation.benchmarks.video import open_clips
from likeness.evaluation.config import EvaluateConfig
from likeness.evaluation.protocol.setup import add_task, progress_bar
from likeness.evaluation.report import provenance, tables
from likeness.evaluation.report.files import write_texts, writing
from likeness.evaluation.report.statistics import difference, mean
from likeness.log import get_logger
from likeness.metrics.gmsd import gmsd
from likeness.metrics.lpips import FACE, Lpips, backbone_file, load_lpips
from likeness.metrics.psnr import psnr
from likeness.metrics.ssim import ssim
from likeness.ops.color import to_float
from likeness.ops.resize import enlarge
from likeness.ops.tensors import to_tensor
from likeness.pipeline.config import from_overrides
from likeness.pipeline.image import restore_image
from likeness.pipeline.restorer import Restorer
from likeness.pipeline.state import Context
from likeness.stages.align import align_with
from likeness.stages.detect.mtcnn import MtcnnDetector
from likeness.types import Pixels
from likeness.weights.files import file_hash

log = get_logger(__name__)

BICUBIC, BASE = "bicubic", "lanczos"
REGIONS = ("picture", "head", "face")
FIGURES = ("psnr", "ssim", "lpips", "gmsd")
FRAMES_PER_CLIP = 2
Table = dict[tuple[str, str, str, str, str], list[float]]  # source, recipe, method, region, figure


def evaluate_pictures(options: EvaluateConfig) -> None:
    """Degrades whole pictures, restores them with every variant, and writes table.md, table.csv and timing.csv.

    Raises:
        LikenessError: one line that says which option, data or weights are missing or wrong.
    """
    unknown = [m for m in options.methods if m != BICUBIC and m not in options.benchmark.variants]
    if unknown or BASE not in options.methods:
        raise ConfigError(f"methods: got {options.methods}; expected {BASE}, {BICUBIC} and names in benchmark.variants")
    restorers = {
        name: Restorer(from_overrides(options.benchmark.variants[name])) for name in options.methods if name != BICUBIC
    }
    backbone = Path(options.weights.lpips) if options.weights.lpips else backbone_file()
    lpips = load_lpips(backbone)
    values: Table = defaultdict(list)
    seconds: dict[str, list[float]] = defaultdict(list)
    count, digest = 0, hashlib.sha256()
    with progress_bar() as bar:
        advance = add_task(bar, "pictures", None)
        for picture in _pictures(options):
            count += 1
            digest.update(picture.name.encode() + picture.truth.tobytes())
            truth = _regions(picture.truth, picture)
            for recipe in options.recipes:
                poor = picture.degraded(recipe, options.seed)
                for name in options.methods:
                    start = time.perf_counter()
                    output = _restore(poor, picture.upscale, restorers.get(name))
                    megapixels = output.shape[0] * output.shape[1] / 1e6
                    seconds[name].append((time.perf_counter() - start) / megapixels)
                    for region, image in _regions(output, picture).items():
                        for figure, value in _compare(image, truth[region], lpips).items():
                            values[picture.source, recipe, name, region, figure].append(value)
            advance(1)
    if not count:
        raise DataError("pictures: found none; set LIKENESS_DATA, or data.root=DIR with DIR/lfw and DIR/clips_good")
    hashes = {name: digest for r in restorers.values() for name, digest in r.weights_hashes().items()}
    hashes["lpips"] = file_hash(backbone)
    facts = provenance.describe(options, {"pictures": count}, digest.hexdigest(), hashes, [], options.recipes)
    facts["variants"] = {name: list(o) for name, o in options.benchmark.variants.items()}
    _write(options, values, seconds, facts)


def _pictures(options: EvaluateConfig) -> Iterator[Picture]:
    detector = MtcnnDetector()
    frames = OPENERS["lfw_frames"](options, lambda count: None)
    clips = open_clips(options.data.folder(options.data.clips, "clips_good"), options.benchmark.groups, options.limit)
    return chain(lfw_pictures(frames), clip_pictures(clips, detector, FRAMES_PER_CLIP), astronaut_picture(detector))


def _restore(poor: Pixels, upscale: int, restorer: Restorer | None) -> Pixels:
    if restorer is None:
        return np.asarray(enlarge(poor, upscale))
    return restore_image(poor, Context(restorer.models, restorer.config, "photo", upscale)).pixels


def _regions(pixels: Pixels, picture: Picture) -> Mapping[str, Tensor]:
    """(1, 3, H, W) in [0, 1] each: the whole, the aligned 256 crop, and the face's window of it."""
    crop = to_tensor(align_with(pixels, picture.matrix, CROP).image).clamp(0, 1)
    return {"picture": to_tensor(to_float(pixels)), "head": crop, "face": crop[FACE]}


@torch.inference_mode()
def _compare(output: Tensor, truth: Tensor, lpips: Lpips) -> Mapping[str, float]:
    return {
        "psnr": float(psnr(output, truth)),
        "ssim": float(ssim(output, truth)),
        "lpips": float(lpips(output, truth)),
        "gmsd": float(gmsd(output, truth)),
    }


def _write(
    options: EvaluateConfig, values: Table, seconds: Mapping[str, Sequence[float]], facts: Mapping[str, Any]
) -> None:
    lines, rows = [], []
    sources = sorted({key[0] for key in values})
    for source in sources:
        for recipe in options.recipes:
            for region in REGIONS:
                lines += ["", f"## {source}, {recipe}, {region}", ""]
                lines += [f"| method | {' | '.join(FIGURES)} |", "|---" * (len(FIGURES) + 1) + "|"]
                for name in options.methods:
                    cells = []
                    for figure in FIGURES:
                        mine, base = (_array(values, source, recipe, n, region, figure) for n in (name, BASE))
                        value, change = mean(mine, options.seed), difference(mine, base, options.seed)
                        digits = 2 if figure == "psnr" else 4
                        text = f"{value.value:.{digits}f}"
                        if name != BASE:
                            text += (
                                f" ({change.value:+.{digits}f} [{change.low:+.{digits}f}, {change.high:+.{digits}f}])"
                            )
                        cells.append(text)
                        rows.append(
                            {"source": source, "recipe": recipe, "region": region, "method": name, "figure": figure,
                             "pictures": value.n, "value": tables.figure(value.value),
                             "difference": tables.figure(change.value), "low": tables.figure(change.low),
                             "high": tables.figure(change.high)}
                        )  # fmt: skip
                    lines.append(f"| {name} | {' | '.join(cells)} |")
    timings = [
        {"method": name, "pictures": len(s), "median_seconds_per_megapixel": f"{np.median(list(s)):.2f}"}
        for name, s in seconds.items()
    ]
    intro = f"Differences to {BASE}, paired, with 95 % intervals. {', '.join(_counts(values, sources))}."
    text = "\n".join(["# Whole pictures", "", intro, *lines, "", tables.provenance_section(facts), ""])
    with writing(options.output_folder):
        write_texts(
            options.output_folder,
            {
                "table.md": text,
                "table.csv": tables.as_csv(rows, facts),
                "timing.csv": tables.as_csv(timings, facts),
            },
        )
    log.info("pictures: %s", options.output_folder / "table.md")


def _array(values: Table, *key: str) -> npt.NDArray[np.float64]:
    source, recipe, name, region, figure = key
    return np.array(values[source, recipe, name, region, figure])


def _counts(values: Table, sources: Sequence[str]) -> list[str]:
    counts = {source: max(len(v) for key, v in values.items() if key[0] == source) for source in sources}
    return [f"{source}: {count} pictures" for source, count in counts.items()]
