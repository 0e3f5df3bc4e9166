"""What each noise level of waifu2x gains under noise and JPEG: `python experiments/background/noise_levels.py`.

Training faces stand in for pictures. The table shows what the thresholds of `stages/background/waifu2x.py` rest on.
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
from likeness.ops.color import grey8, to_float
from likeness.ops.quality import blockiness, flat_noise
from likeness.ops.tensors import to_tensor
from likeness.stages.background.base import BackgroundConfig, BackgroundPlan
from likeness.stages.background.waifu2x import Waifu2x
from likeness.tasks import arguments
from likeness.types import Pixels
from likeness.weights.published import WAIFU2X, load_waifu2x

LEVELS = (0, 1, 2, 3)
JPEG = {"jpeg 75": 75, "jpeg 50": 50, "jpeg 30": 30}
RECIPES = ("slight", "mild", "gfpgan")


@dataclass
class NoiseLevelsOptions:
    """Options of the command.

    Attributes:
        root: folder of aligned faces with a manifest; by default LIKENESS_DATA/faces.
        dst: the Markdown file to write.
        faces: real ones of `train` with at least 448 native pixels, drawn by `seed`.
        seed: of the draw and of the degradations.
    """

    root: str = ""
    dst: str = "experiments/background/noise_levels.md"
    faces: int = 8
    seed: int = 3


def spoiled(face: Pixels, how: str, rng: np.random.Generator) -> Pixels:
    """A face under a recipe, or under JPEG alone."""
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
    records = [r for r in read_manifest(root) if r.split == "train" and r.kind == "real" and r.native_px >= 448]
    draw = np.random.default_rng(options.seed).choice(len(records), options.faces, replace=False)
    background = Waifu2x({level: load_waifu2x(level) for level in WAIFU2X}, BackgroundConfig("waifu2x"))
    lpips = load_lpips()
    head = ["input", "noise", "blockiness", "PSNR dB", "LPIPS", *(f"level {n}: dB, LPIPS" for n in LEVELS)]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for k, how in enumerate(("clean", *JPEG, *RECIPES)):
        rows = []
        for i in draw:
            truth = read_face(root, records[i], 256)
            poor = spoiled(truth, how, np.random.default_rng([options.seed, int(i), k]))
            grey, target = grey8(poor).astype(np.float32), to_tensor(to_float(truth))
            row = [flat_noise(grey), blockiness(grey)]
            for level in (None, *LEVELS):
                plan = BackgroundPlan("waifu2x", "", 1.0, level)
                picture = poor if level is None else background.enlarge(poor, 1, plan)
                image = to_tensor(to_float(picture))
                row += [min(60.0, float(psnr(image, target))), float(lpips(image, target))]
            rows.append(row)
        mean = np.mean(rows, 0)
        base = mean[2:4]
        gains = [f"{mean[4 + 2 * n] - base[0]:+.2f}, {mean[5 + 2 * n] - base[1]:+.3f}" for n in range(len(LEVELS))]
        figures = [how, f"{mean[0]:.2f}", f"{mean[1]:.2f}", f"{base[0]:.2f}", f"{base[1]:.3f}"]
        lines.append(f"| {' | '.join([*figures, *gains])} |")
    write_markdown(Path(options.dst), "Noise levels of waifu2x at the picture's own size", lines)


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(NoiseLevelsOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
