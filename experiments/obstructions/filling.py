"""What fills scratches inside faces best: `python experiments/obstructions/filling.py faces=24 photos=10`.

Held-out faces are degraded slightly and scratched, the scratched pixels are known. Each method fills them; every other
pixel is the truth's, so that LPIPS of the picture is that of the filled pixels alone. Frames of good clips serve as
whole photos: they go through the pipeline, with the scratched pixels as the mask of `repair`.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from likeness.data.degradations.stills import degrade
from likeness.data.faces import read_face
from likeness.data.obstructions.damage import damage
from likeness.data.obstructions.layers import paint
from likeness.data.photos import draw_rng
from likeness.evaluation.benchmarks.faces import face_folder, real_faces
from likeness.evaluation.benchmarks.pictures import Picture, astronaut_picture, clip_pictures
from likeness.evaluation.benchmarks.video import open_clips
from likeness.evaluation.report.provenance import write_markdown
from likeness.evaluation.report.statistics import mean, percent
from likeness.evaluation.report.tables import interval_text
from likeness.metrics.lpips import load_lpips
from likeness.ops.color import to_float, to_integer
from likeness.ops.geometry import warp
from likeness.ops.resize import resize
from likeness.paths import data_folder
from likeness.pipeline.config import from_overrides
from likeness.pipeline.restorer import Restorer
from likeness.stages.detect.mtcnn import MtcnnDetector
from likeness.stages.repair.inpainters import INPAINTERS, join
from likeness.stages.restore.base import Expert
from likeness.stages.restore.expert_t import load_expert_t
from likeness.tasks import arguments
from likeness.types import Conditions, FloatArray, Mask, Pixels

CROP = 256


@dataclass
class FillingOptions:
    """Options of the command.

    Attributes:
        root: folder of aligned faces with a manifest; by default LIKENESS_DATA/faces.
        dst: folder of the table.
        faces: real ones of `val`, at even steps.
        clips: folder of good clips with an index; by default LIKENESS_DATA/clips_good.
        photos: frames of them and scikit-image's astronaut, whose largest face is read.
        recipe: of the degradation before the scratches.
        seed: of the scratches.
        images: folder for the pictures of a blind sheet: scratched faces, and what the pipeline makes of them with the
            mask (filled) and of the same faces without scratches (whole); photos in their own folder. Empty = none.
    """

    root: str = ""
    dst: str = "experiments/obstructions"
    faces: int = 24
    clips: str = ""
    photos: int = 10
    recipe: str = "slight"
    seed: int = 1
    images: str = ""


def scratched(face: Pixels, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """A scratched copy of a picture, and the scratched pixels."""
    picture, unknown = to_float(face), np.zeros(face.shape[:2], np.bool_)
    for layer in damage(len(face), rng):
        picture = paint(picture, layer)
        unknown |= layer.alpha > 0.05
    return to_integer(picture), unknown


def scratched_photo(photo: Picture, seed: int) -> tuple[Pixels, Mask]:
    """A scratched copy of a photo, and the scratched pixels."""
    height, width = photo.truth.shape[:2]
    side = max(height, width)
    square = np.pad(photo.truth, ((0, side - height), (0, side - width), (0, 0)), mode="edge")
    broken, unknown = scratched(square, draw_rng(seed, "photo", photo.name))
    return np.ascontiguousarray(broken[:height, :width]), unknown[:height, :width]


def face_of(photo: Picture, pixels: Pixels) -> Pixels:
    """The crop of a photo's largest face, (256, 256, 3)."""
    return to_integer(warp(to_float(pixels), photo.matrix, (CROP, CROP)))


def repaired(broken: Pixels, unknown: Mask, upscale: int = 1) -> Pixels:
    """What the pipeline makes of a scratched photo with its mask."""
    with tempfile.TemporaryDirectory() as folder:
        mask = Path(folder) / "mask.png"
        Image.fromarray(unknown.astype(np.uint8) * 255).save(mask)
        options = [f"repair.name={mask}", f"upscale={upscale}", "background.name=lanczos"]
        return Restorer(from_overrides(options)).image(broken).pixels


def table(scores: Mapping[str, Sequence[float]]) -> list[str]:
    """LPIPS by method, and its change against the biharmonic fill."""
    lines, reference = ["| filled by | LPIPS | against biharmonic |", "|---|---|---|"], np.array(scores["biharmonic"])
    for name, values in scores.items():
        change = interval_text(percent(np.array(values), reference), "+.0f", " %")
        lines.append(f"| {name} | {interval_text(mean(np.array(values)), '.4f')} | {change} |")
    return lines


def save(folder: Path, name: str, pictures: Mapping[str, Pixels]) -> None:
    """Writes pictures into a folder for each kind."""
    for kind, picture in pictures.items():
        (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / kind / f"{name}.png")


def fill_faces(root: Path, options: FillingOptions, expert: Expert, lpips: torch.nn.Module) -> list[str]:
    """The table of faces."""
    scores: dict[str, list[float]] = {}
    shares = []
    for record in real_faces(root, options.faces):
        rng = draw_rng(options.seed, options.recipe, record.file)
        truth = resize(read_face(root, record), 256, 256)
        broken, unknown = scratched(degrade(truth, options.recipe, rng)[0], rng)
        shares.append(unknown.mean())
        fills = {"nothing": broken} | {
            name: join(broken, INPAINTERS[name].load(None)(broken, unknown), unknown) for name in INPAINTERS.names
        }
        base = to_float(fills["biharmonic"])
        for name, mask in (("biharmonic, then Expert-T", None), ("biharmonic, then Expert-T with the mask", unknown)):
            restored = expert.restore([base], [Conditions(None, 1.0, unknown=mask)])[0].image
            fills[name] = to_integer(resize(restored, 256, 256))
        for name, filled in fills.items():
            mixed = np.where(unknown[..., None], filled, truth)
            scores.setdefault(name, []).append(lpips_of(lpips, mixed, truth))
        if options.images:
            whole = degrade(truth, options.recipe, draw_rng(options.seed, options.recipe, record.file))[0]
            pictures = {
                "input": resize(broken, 512, 512),
                "whole": repaired(whole, np.zeros_like(unknown), 2),
                "filled": repaired(broken, unknown, 2),
            }
            save(Path(options.images), f"{len(shares):03d}", pictures)
    head = f"{len(shares)} faces of `val`, recipe `{options.recipe}`, {np.mean(shares):.1%} of their pixels scratched."
    return [head, "", *table(scores)]


def fill_photos(options: FillingOptions, lpips: torch.nn.Module) -> list[str]:
    """The table of whole photos."""
    given = data_folder()
    clips = Path(options.clips) if options.clips else given and given / "clips_good"
    scores: dict[str, list[float]] = {"biharmonic": [], "repair": []}
    shares = []
    detector = MtcnnDetector()
    photos = chain(clip_pictures(open_clips(clips, {}), detector, 1), astronaut_picture(detector))
    for photo in islice(photos, options.photos):
        broken, unknown = scratched_photo(photo, options.seed)
        shares.append(unknown.mean())
        fills = {
            "biharmonic": join(broken, INPAINTERS["biharmonic"].load(None)(broken, unknown), unknown),
            "repair": repaired(broken, unknown),
        }
        true_face = face_of(photo, photo.truth)
        for name, filled in fills.items():
            mixed = np.where(unknown[..., None], filled, photo.truth)
            scores[name].append(lpips_of(lpips, face_of(photo, mixed), true_face))
        if options.images:
            pictures = {"input": broken, "truth": photo.truth, "filled": fills["repair"]}
            save(Path(options.images) / "photos", f"{len(shares):03d}", pictures)
    head = (
        f"{len(shares)} photos (frames of good clips, the astronaut), {np.mean(shares):.1%} of their pixels scratched, "
        "in the crop of the largest face; `repair` is the pipeline with its mask."
    )
    return [head, "", *table(scores)]


def run(options: FillingOptions) -> Path:
    """Measures and writes both tables."""
    root, lpips, expert = face_folder(options.root), load_lpips(), load_expert_t()
    lines = [*fill_faces(root, options, expert, lpips), "", *fill_photos(options, lpips)]
    facts = {"weights": {"expert_t": expert.sha256}}
    target = Path(options.dst) / "filling.md"
    write_markdown(target, "Filling scratches", lines, facts)
    print("\n".join(lines))
    return target


def lpips_of(net: torch.nn.Module, picture: Pixels, truth: Pixels) -> float:
    """LPIPS of one picture against its truth."""

    def tensor(image: Pixels) -> torch.Tensor:
        values: FloatArray = to_float(image)
        return torch.from_numpy(values).permute(2, 0, 1)[None]

    with torch.inference_mode():
        return float(net(tensor(picture), tensor(truth)))


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(FillingOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
