"""The demo: a public-domain portrait, degraded and restored as a photo and as a clip with sound.

The picture is `skimage.data.astronaut()` (NASA, public domain). Its truth is known, so figures against it are printed.
"""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from skimage.data import astronaut

from likeness.log import get_logger
from likeness.pipeline.config import RestorerConfig
from likeness.pipeline.reference import figure
from likeness.pipeline.restorer import Restorer
from likeness.tasks.clips import write_clip
from likeness.types import Pixels

log = get_logger(__name__)

RATE, SECONDS = 25, 2
WINDOW = 320  # edge of the panning window


def degraded(image: Pixels, seed: int) -> Pixels:
    """Blur, noise and JPEG, as an old phone would: HWC uint8, same size; `seed` draws the noise."""
    rng = np.random.default_rng(seed)
    soft = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1.6)
    noisy = np.clip(np.rint(soft + rng.normal(0, 5, soft.shape)), 0, 255).astype(np.uint8)
    stored = io.BytesIO()
    Image.fromarray(noisy).save(stored, "JPEG", quality=70)
    return np.asarray(Image.open(stored))


def panning(image: Pixels) -> list[Pixels]:
    """A window that glides over the face and back, as a hand-held camera would."""
    frames = []
    for i in range(RATE * SECONDS):
        t = i / (RATE * SECONDS)
        x, y = 62 + 24 * math.sin(2 * math.pi * t), 2 + 10 * (1 - math.cos(2 * math.pi * t)) / 2
        move = np.array([[1, 0, -x], [0, 1, -y]])
        frames.append(
            cv2.warpAffine(image, move, (WINDOW, WINDOW), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        )
    return frames


def make_sample(folder: Path) -> dict[str, Path]:
    """Writes degraded and true photo and clip; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    truth = np.ascontiguousarray(astronaut())
    files = {n: folder / n for n in ("photo.png", "photo_truth.png", "clip.mp4", "clip_truth.mp4")}
    Image.fromarray(degraded(truth, 0)).save(files["photo.png"])
    Image.fromarray(truth).save(files["photo_truth.png"])
    frames = panning(truth)
    write_clip(files["clip_truth.mp4"], frames, 8, RATE)
    write_clip(files["clip.mp4"], [degraded(frame, i) for i, frame in enumerate(frames)], 23, RATE)
    return files


def run_demo(output: Path, config: RestorerConfig) -> int:
    """Makes the sample, restores it, prints the paths of the results and their figures; exit code 0."""
    folder = output / "demo"
    files = make_sample(folder / "input")
    restorer = Restorer(replace(config, compare="yes"))
    for poor, truth in (("photo.png", "photo_truth.png"), ("clip.mp4", "clip_truth.mp4")):
        source = files[poor]
        result = restorer.file(source, folder / source.stem, files[truth])
        print(f"\n{source.stem}: {source} -> {result.outputs['restored']}")
        print(f"  before | after: {result.outputs['compare']}, faces: {result.outputs['cards']}")
        reference = result.report["reference"]
        print(f"  {'against the truth':<20}{'input':>10}{'restored':>10}")
        for name, value in reference["input"].items():
            print(f"  {name:<20}{figure(value):>10}{figure(reference['output'][name]):>10}")
        for missing in reference["missing"]:
            print(f"  not measured: {missing}")
        totals = result.report["totals"]
        print(f"  {totals['frames']} frame(s), {totals['frames_per_second']} frames/s on {result.report['device']}")
        print(f"  {result.summary}")
    return 0
