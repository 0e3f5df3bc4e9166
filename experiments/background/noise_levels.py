"""What each noise level of waifu2x gains under noise and JPEG: `python experiments/background/noise_levels.py`.

Training faces stand in for pictures, at their own size and at twice the size. The baseline is Lanczos' kernel. The
tables show what the thresholds of `stages/background/waifu2x.py` rest on.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from likeness.data.degradations.stills import degrade
from likeness.data.faces import read_face, read_manifest
from likeness.evaluation.benchmarks.faces import face_folder
from likeness.evaluation.report.provenance import write_markdown
from likeness.metrics.lpips import load_lpips
from likeness.metrics.psnr import psnr
from likeness.ops.color import to_float
from likeness.ops.tensors import to_tensor
from likeness.stages.background.base import BackgroundConfig, BackgroundPlan
from likeness.stages.background.waifu2x import Waifu2x, find_faults
from likeness.tasks import arguments
from likeness.types import Pixels
from likeness.weights.published import WAIFU2X, load_waifu2x

LEVELS = (0, 1, 2, 3)
SETTINGS = ((0.0, None), *((1.0, level) for level in LEVELS))  # strength and level; the first is Lanczos alone
COLUMNS = ("input", "noise", "blockiness", "detail %", "PSNR dB", "LPIPS", *(f"level {n}: dB, LPIPS" for n in LEVELS))
HEAD = (f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|")
JPEG = {"jpeg 75": 75, "jpeg 50": 50, "jpeg 30": 30}
NOISE = {"noise 2": 2.0, "noise 5": 5.0, "noise 10": 10.0}  # sigma in grey levels
RECIPES = ("slight", "mild", "gfpgan")


@dataclass
class NoiseLevelsOptions:
    """Options of the command.

    Attributes:
        root: folder of aligned faces with a manifest; by default LIKENESS_DATA/faces.
        dst: the Markdown file to write.
        faces: real ones of `train` with at least 512 native pixels, drawn by `seed`.
        seed: of the draw and of the degradations.
    """

    root: str = ""
    dst: str = "experiments/background/noise_levels.md"
    faces: int = 8
    seed: int = 3


def spoiled(face: Pixels, how: str, rng: np.random.Generator) -> Pixels:
    """A face under a recipe, or under JPEG or noise alone."""
    if how in NOISE:
        return np.clip(np.rint(face + rng.normal(0, NOISE[how], face.shape)), 0, 255).astype(np.uint8)
    if how in JPEG:
        _, stored = cv2.imencode(".jpg", face[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG[how]])
        return cv2.cvtColor(cv2.imdecode(stored, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)  # type: ignore[arg-type]
    return degrade(face, how, rng)[0] if how != "clean" else face


@torch.inference_mode()
def run(options: NoiseLevelsOptions) -> None:
    """Measures and writes the table.

    Raises:
        DataError: where no faces are named.
    """
    root = face_folder(options.root)
    records = [r for r in read_manifest(root) if r.split == "train" and r.kind == "real" and r.native_px >= 512]
    draw = np.random.default_rng(options.seed).choice(len(records), options.faces, replace=False)
    background = Waifu2x({level: load_waifu2x(level) for level in WAIFU2X}, BackgroundConfig("waifu2x"))
    lpips = load_lpips()
    lines: list[str] = []
    for factor in (1, 2):
        lines += ["", f"## At {'their own' if factor == 1 else 'twice their'} size", "", *HEAD]
        for k, how in enumerate(("clean", *NOISE, *JPEG, *RECIPES)):
            rows = []
            for i in draw:
                truth = read_face(root, records[i], 256 * factor)
                poor = spoiled(read_face(root, records[i], 256), how, np.random.default_rng([options.seed, int(i), k]))
                faults, target = find_faults(poor), to_tensor(to_float(truth))
                plans = [BackgroundPlan("waifu2x", "", strength, level) for strength, level in SETTINGS]
                images = [to_tensor(to_float(background.enlarge(poor, factor, plan))) for plan in plans]
                figures = [(min(60.0, float(psnr(x, target))), float(lpips(x, target))) for x in images]
                rows.append([faults.noise, faults.blocks, faults.detail, *np.ravel(figures)])
            noise, blocks, fine, db, distance, *others = np.mean(rows, 0)
            gains = [f"{a - db:+.2f}, {b - distance:+.3f}" for a, b in zip(others[::2], others[1::2], strict=True)]
            cells = [how, f"{noise:.2f}", f"{blocks:.2f}", f"{fine:.1f}", f"{db:.2f}", f"{distance:.3f}", *gains]
            lines.append(f"| {' | '.join(cells)} |")
    write_markdown(Path(options.dst), "Noise levels of waifu2x", lines[1:])


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(NoiseLevelsOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
