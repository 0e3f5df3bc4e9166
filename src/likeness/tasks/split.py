"""Do Expert-T's tokens tell who from how, and do its knobs do what they say? `python -m likeness.tasks.split`.

Writes what linear probes find in each kind of token, what exchanging and replacing quality tokens does, and what the
knobs change, on held-out real faces.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from likeness.data.degradations.recipes import sample_params
from likeness.data.degradations.stills import apply_degradation
from likeness.data.faces import FaceRecord, Split, read_face, read_manifest, split_records
from likeness.errors import DataError
from likeness.evaluation import provenance
from likeness.evaluation.split import (
    Views,
    average,
    exchanged_people,
    exchanged_views,
    probe,
    read_views,
    replaced,
)
from likeness.evaluation.statistics import Interval, mean
from likeness.metrics.identity import Embed, embedding_distance
from likeness.metrics.images import halve, round8
from likeness.metrics.lpips import Lpips, load_lpips
from likeness.metrics.sharpness import laplacian_variance
from likeness.nets.expert_t import ExpertT, Frozen, Knobs
from likeness.nets.face_embedder import load_embedder
from likeness.stages.restore.expert_t import load_expert_t
from likeness.tasks import arguments

TURNS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass
class SplitOptions:
    """Options of the command.

    Attributes:
        root: folder of aligned faces with a manifest; by default LIKENESS_DATA/faces.
        dst: the Markdown file to write.
        expert_t, prior, expert_f: weight files; by default the released ones.
        faces: real ones of `val`, spread evenly; and as many of `calib` for the mean tokens.
        recipes: the views; `clean` must be one of them.
        seed: of the degradations.
    """

    root: str = ""
    dst: str = "experiments/expert_t/split.md"
    expert_t: str = ""
    prior: str = ""
    expert_f: str = ""
    faces: int = 60
    recipes: list[str] = field(default_factory=lambda: ["clean", "mild", "gfpgan", "heavy"])
    seed: int = 0


def views_of(net: ExpertT, frozen: Frozen, root: Path, split: Split, options: SplitOptions) -> Views:
    """Real faces of a split under every recipe.

    Raises:
        DataError: if the split has none.
    """
    records: list[FaceRecord] = [r for r in split_records(read_manifest(root), split) if r.kind == "real"]
    if not records:
        raise DataError(f"split: {root}/manifest.csv has no real face in split {split}")
    records = records[:: max(1, len(records) // options.faces)][: options.faces]
    pixels = [read_face(root, record, 256) for record in records]
    inputs = {}
    for k, recipe in enumerate(options.recipes):
        generators = [np.random.default_rng([options.seed, k, i]) for i in range(len(pixels))]
        params = [sample_params(recipe, g) for g in generators]
        inputs[recipe] = _tensor([apply_degradation(*x) for x in zip(pixels, params, generators, strict=True)])
    return read_views(net, frozen, _tensor(pixels), inputs)


def _tensor(pixels: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255


def split_table(net: ExpertT, frozen: Frozen, views: Views, mean_look: Tensor, embed: Embed, lpips: Lpips) -> list[str]:
    """The four measurements as Markdown."""
    recipes = list(views.inputs)
    lines = ["| tokens | identity told | degradation told |", "|---|---|---|"]
    for kind in ("content", "quality"):
        found = probe(views, kind)
        lines.append(f"| {kind} | {found.identity:.1%} | {found.degradation:.1%} |")
    lines += [f"| guessing | {found.chance[0]:.1%} | {found.chance[1]:.1%} |", "", "| measured | on | value | bar |"]
    lines.append("|---|---|---|---|")
    for recipe in recipes:
        moved = exchanged_people(net, frozen, views, recipe, embed)
        lines.append(f"| quality of another person: distance to the own face | {recipe} | {_signed(moved)} | < .05 |")
    for poor in (r for r in recipes if r != "clean"):
        for content, donor in ((poor, "clean"), ("clean", poor)):
            apart = exchanged_views(net, frozen, views, content, donor)
            what = f"{content} content, {donor} quality"
            lines.append(f"| sharpness against the donor's own, % | {what} | {_signed(apart, 1)} | within 15 |")
    for i, recipe in enumerate(recipes):
        other = recipes[(i + len(recipes) // 2) % len(recipes)]
        for name, looks in (("the mean over calib", mean_look), (f"that of {other}", views.tokens(other, "quality"))):
            cost = replaced(net, frozen, views, recipe, looks, lpips)
            lines.append(f"| quality replaced by {name}: LPIPS | {recipe} | {_signed(cost)} | >= .03 |")
    return lines


@torch.inference_mode()
def knob_table(net: ExpertT, frozen: Frozen, views: Views, recipe: str, embed: Embed) -> list[str]:
    """What each turn of a knob does to one recipe's faces, as Markdown."""
    inputs, truth = embed(views.inputs[recipe]), embed(views.truths)
    lines = ["| knob | at | distance to the input | distance to the truth | sharpness ratio to the truth |"]
    lines.append("|---|---|---|---|---|")
    knobs: dict[str, Callable[[float], Knobs]] = {
        "fidelity": lambda v: Knobs(fidelity=v),
        "quality": lambda v: Knobs(quality=v),
    }
    for name, turn in knobs.items():
        for at in TURNS:
            parts = [net(x, frozen, turn(at)).image.clamp(0, 1) for x in views.inputs[recipe].split(8)]
            images = round8(halve(torch.cat(parts).contiguous()))
            seen = embed(images)
            ratio = (laplacian_variance(images) / laplacian_variance(views.truths)).sqrt()
            cells = [_mean(embedding_distance(seen, e)) for e in (inputs, truth)] + [_mean(ratio)]
            lines.append(f"| {name} | {at:g} | " + " | ".join(cells) + " |")
    return lines


def _mean(values: Tensor) -> str:
    return f"{mean(values.cpu().double().numpy()).value:.3f}"


def _signed(found: Interval, digits: int = 3) -> str:
    return f"{found.value:+.{digits}f} [{found.low:+.{digits}f}, {found.high:+.{digits}f}]"


def run(options: SplitOptions) -> None:
    """Measures, prints and writes.

    Raises:
        DataError: where no faces are named or there are none, or no view is clean.
        OutputError: if the file cannot be written.
    """
    data = os.environ.get("LIKENESS_DATA", "")
    if not options.root and not data:
        raise DataError("split: no faces; give root=DIR or set LIKENESS_DATA")
    if "clean" not in options.recipes or len(options.recipes) < 3:
        raise DataError(f"recipes: got {options.recipes}, expected clean and at least two more")
    root = Path(options.root) if options.root else Path(data) / "faces"
    expert = load_expert_t(options.expert_t or None, options.prior or None, options.expert_f or None)
    net, frozen, embed = expert.net, expert.frozen, load_embedder().embed_aligned
    mean_look = average(views_of(net, frozen, root, "calib", options))
    views = views_of(net, frozen, root, "val", options)
    lines = split_table(net, frozen, views, mean_look, embed, load_lpips())
    for recipe in (r for r in options.recipes if r != "clean"):
        lines += ["", f"## Knobs on {recipe}", "", *knob_table(net, frozen, views, recipe, embed)]
    facts = {"weights": expert.sha256, "faces": len(views.truths)}
    provenance.write_markdown(Path(options.dst), "Content and quality", lines, facts)
    print("\n".join(lines))


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(SplitOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
