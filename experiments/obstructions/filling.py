"""What fills scratches inside faces best: `python experiments/obstructions/filling.py faces=24`.

Held-out faces are degraded slightly and scratched, the scratched pixels are known. Each method fills them; every other
pixel is the truth's, so that LPIPS of the picture is that of the filled pixels alone.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
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
from likeness.evaluation.report.provenance import write_markdown
from likeness.evaluation.report.statistics import mean, percent
from likeness.evaluation.report.tables import interval_text
from likeness.metrics.lpips import load_lpips
from likeness.ops.color import to_float, to_integer
from likeness.ops.resize import resize
from likeness.stages.repair.inpainters import INPAINTERS, join
from likeness.stages.restore.expert_t import load_expert_t
from likeness.tasks import arguments
from likeness.types import Conditions, FloatArray, Mask, Pixels


@dataclass
class FillingOptions:
    """Options of the command.

    Attributes:
        root: folder of aligned faces with a manifest; by default LIKENESS_DATA/faces.
        dst: folder of the table.
        faces: real ones of `val`, at even steps.
        recipe: of the degradation before the scratches.
        seed: of the scratches.
        images: folder for the pictures of a blind sheet: input, truth, and what Expert-T filled with the mask;
            empty = none.
    """

    root: str = ""
    dst: str = "experiments/obstructions"
    faces: int = 24
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


def run(options: FillingOptions) -> Path:
    """Measures and writes the table."""
    root, lpips, expert = face_folder(options.root), load_lpips(), load_expert_t()
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
            scores.setdefault(name, []).append(_lpips(lpips, mixed, truth))
        if options.images:  # `mixed` is that of the last method
            for kind, picture in (("input", broken), ("truth", truth), ("filled", mixed)):
                folder = Path(options.images) / kind
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(resize(picture, 512, 512)).save(folder / f"{len(shares):03d}.png")
    lines = [
        f"{len(shares)} faces of `val`, recipe `{options.recipe}`, {np.mean(shares):.1%} of their pixels scratched.",
        "",
        "| filled by | LPIPS | against biharmonic |",
        "|---|---|---|",
    ]
    reference = np.array(scores["biharmonic"])
    for name, values in scores.items():
        change = interval_text(percent(np.array(values), reference), "+.0f", " %")
        lines.append(f"| {name} | {interval_text(mean(np.array(values)), '.4f')} | {change} |")
    facts = {"faces": len(shares), "weights": {"expert_t": expert.sha256}}
    target = Path(options.dst) / "filling.md"
    write_markdown(target, "Filling scratches inside faces", lines, facts)
    print("\n".join(lines))
    return target


def _lpips(net: torch.nn.Module, picture: Pixels, truth: Pixels) -> float:
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
