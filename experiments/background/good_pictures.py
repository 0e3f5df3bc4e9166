"""What the defaults do to good pictures outside the faces: `python experiments/background/good_pictures.py`.

Frames of sharp clips and held-out portraits are restored at upscale 1, and from half their size at upscale 2. Each
result is compared with Lanczos' kernel where no face is pasted, and by LPIPS with the picture itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from likeness.data.faces import read_face
from likeness.evaluation.benchmarks.faces import face_folder, real_faces
from likeness.evaluation.benchmarks.video import open_clips, true_frames
from likeness.evaluation.report.provenance import write_markdown
from likeness.metrics.lpips import Lpips, load_lpips
from likeness.ops.color import to_float
from likeness.ops.geometry import invert, resized, warp
from likeness.ops.mask import MaskShape, template_mask
from likeness.ops.resize import enlarge, resize
from likeness.ops.tensors import to_tensor
from likeness.pipeline.config import from_overrides
from likeness.pipeline.restorer import Restorer
from likeness.pipeline.state import FrameResult, pasted
from likeness.tasks import arguments
from likeness.types import Pixels

CROP = 256
COLUMNS = ("picture", "background", "outside heads, dB", "outside faces, dB", "LPIPS", "of Lanczos")


@dataclass
class GoodPicturesOptions:
    """Options of the command.

    Attributes:
        root: folder of aligned faces with a manifest; by default LIKENESS_DATA/faces.
        clips: folder of sharp clips with an index; by default `clips_good` beside `root`.
        dst: the Markdown file to write.
        count: frames, and portraits.
    """

    root: str = ""
    clips: str = ""
    dst: str = "experiments/background/good_pictures.md"
    count: int = 10


def outside(result: FrameResult, upscale: int, shape: MaskShape) -> npt.NDArray[np.bool_]:
    """Where no mask of `shape` of a pasted face lies, HW."""
    height, width = result.pixels.shape[:2]
    free = np.ones((height, width), bool)
    for face in result.faces:
        if pasted(face):
            back = invert(resized(face.crop.matrix, source=upscale))
            mask = warp(template_mask(CROP, shape), back, (width, height), border=cv2.BORDER_CONSTANT, linear=True)
            free &= mask == 0
    return free


def decibels(a: Pixels, b: Pixels, where: npt.NDArray[np.bool_]) -> float:
    """PSNR of two pictures in some of their pixels; infinite where these are equal."""
    error = np.square(a[where].astype(np.float64) - b[where]).mean() if where.any() else np.nan
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def pictures(root: Path, clips: Path, count: int) -> Iterator[tuple[str, Pixels]]:
    """Frames of clips, the first of each, and portraits of 512 pixels."""
    for clip in open_clips(clips, {}, count):
        yield clip.name, next(true_frames(clip))
    sharp = [r for r in real_faces(root) if r.sharp]
    for record in sharp[:: max(1, len(sharp) // count)][:count]:
        yield record.file, read_face(root, record, 512)


@torch.inference_mode()
def examine(name: str, picture: Pixels, restorer: Restorer, upscale: int, lpips: Lpips) -> str:
    """A row of the table."""
    height, width = picture.shape[:2]
    picture = picture[: height // 2 * 2, : width // 2 * 2]
    small = resize(picture, picture.shape[1] // upscale, picture.shape[0] // upscale)
    result, plain = restorer.image(small), enlarge(small, upscale, cv2.INTER_LANCZOS4)
    truth = to_tensor(to_float(picture))
    distances = [float(lpips(to_tensor(to_float(p)), truth)) for p in (result.pixels, plain)]
    psnrs = [decibels(result.pixels, plain, outside(result, upscale, shape)) for shape in ("head", "face")]
    plan = result.background
    cells = [name, f"{plan.name} {plan.strength:.2f}; {plan.reason}", *(f"{p:.1f}" for p in psnrs)]
    return f"| {' | '.join([*cells, *(f'{d:.4f}' for d in distances)])} |"


def run(options: GoodPicturesOptions) -> None:
    """Measures and writes the table.

    Raises:
        DataError: where no faces or no clips are named.
    """
    root = face_folder(options.root)
    clips = Path(options.clips) if options.clips else root.parent / "clips_good"
    lpips, lines = load_lpips(), list[str]()
    for upscale in (1, 2):
        restorer = Restorer(from_overrides([f"upscale={upscale}"]))
        lines += ["", f"## Upscale {upscale}", "", f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
        lines += [examine(n, p, restorer, upscale, lpips) for n, p in pictures(root, clips, options.count)]
    write_markdown(Path(options.dst), "Good pictures against Lanczos", lines[1:])


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(GoodPicturesOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
