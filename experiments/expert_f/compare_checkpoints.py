"""Compares short runs at equal budget, side by side.

`python experiments/expert_f/compare_checkpoints.py runs.base=A.ckpt runs.other=B.ckpt` restores the same held-out faces
with every checkpoint or weight file and writes means over images and their paired differences to the first run, with
95 % intervals: PSNR, LPIPS and identity at 256; sharpness, specks and streaks of the skin at 512, of the faces that are
sharp there. `images=FOLDER` keeps the restored pictures, for experiments/blind/blind.py.

`shifts.NAME=4` restores each face as the mean over shifted copies, shifted back (cycle spinning, Coifman and Donoho
1995): the mean loses what is fixed to the pixel grid, such as hatching.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from rich.progress import track
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.utils.data import DataLoader

from likeness.data.attributes import ATTRIBUTES, read_attributes
from likeness.data.faces import FaceRecord, read_face
from likeness.data.pairs import FixedPairs
from likeness.data.sources import ArraySource
from likeness.errors import DataError, InputError
from likeness.evaluation.benchmarks.faces import every_nth, face_folder, real_faces
from likeness.evaluation.report.provenance import write_markdown
from likeness.evaluation.report.statistics import difference, mean
from likeness.evaluation.report.tables import interval_text
from likeness.metrics.identity import cosine, embedding_distance, load_judge
from likeness.metrics.images import halve, round8
from likeness.metrics.lpips import load_lpips
from likeness.metrics.psnr import psnr
from likeness.metrics.sharpness import sharpness_ratio
from likeness.metrics.specks import specks
from likeness.metrics.streaks import streaks
from likeness.nets.expert_f import ExpertF
from likeness.nets.expert_t import ExpertT
from likeness.nets.expert_t_data import Frozen
from likeness.nets.face_embedder import load_embedder
from likeness.ops.tensors import to_float_tensor
from likeness.tasks import arguments
from likeness.tasks.export import averaged_weights, last_weights, read_checkpoint
from likeness.training.base import valid_at_512
from likeness.weights.files import load_weights
from likeness.weights.networks import NETWORKS, load_network, load_prior, plain_config

# Rows and columns at 256. The coarsest lattice that the pixel shuffles leave repeats after 4 pixels.
SHIFTS = {
    1: [(0, 0)],
    2: [(0, 0), (1, 1)],
    4: [(0, 0), (1, 2), (2, 3), (3, 1)],
    16: [(y, x) for y in range(4) for x in range(4)],
}
MARGIN = 4  # pixels at 256

Figures = dict[str, dict[str, np.ndarray]]  # recipe, metric -> (faces,)


@dataclass
class CompareCheckpointsOptions:
    """Options of the command.

    Attributes:
        runs: by name, the checkpoint that each run ended with, or a released weight file (.safetensors); the others are
            compared with the first.
        dst: the Markdown file to write.
        images: a folder of pictures for each run, and one of the inputs; empty = none are kept.
        root: folder of aligned faces with a manifest; by default LIKENESS_DATA/faces.
        recipes: by which the faces are degraded.
        faces: real ones of `val`, spread evenly.
        attribute: only faces that have it by `labels`; empty = all.
        labels: CSV of attributes.
        judge: also the cosine similarity by the recogniser in LIKENESS_DATA/judge, which no training has used.
        shifts: by run, the number of shifted copies, 1, 2, 4 or 16; without an entry 1.
        expert_f, prior: by run, the weight files that an Expert-T stands on; without an entry the released ones.
        averaged: the averaged weights; False = the last ones, as an average of 0.998 forgets its start too slowly for
            a few hundred steps.
        seed: of the degradations.
    """

    runs: dict[str, str] = field(default_factory=dict)
    dst: str = "experiments/compare_checkpoints.md"
    images: str = ""
    root: str = ""
    recipes: list[str] = field(default_factory=lambda: ["gfpgan", "heavy", "mild"])
    faces: int = 59
    attribute: str = ""
    labels: str = "experiments/labels/by_eye.csv"
    judge: bool = False
    shifts: dict[str, int] = field(default_factory=dict)
    expert_f: dict[str, str] = field(default_factory=dict)
    prior: dict[str, str] = field(default_factory=dict)
    averaged: bool = False
    seed: int = 7


def stored_network(file: str) -> str:
    """The name of the network whose weights a file holds.

    Raises:
        InputError: if it is no weight file.
    """
    try:
        with safe_open(file, "pt") as opened:
            return (opened.metadata() or {}).get("network", "nothing")
    except (SafetensorError, OSError) as error:
        raise InputError(f"runs: {file} is no weight file ({error}); give an exported one or a checkpoint") from error


def load_run(file: str, averaged: bool) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a checkpoint, and the images and steps of its training.

    Raises:
        InputError: if it is no checkpoint of a network that restores.
        WeightsError: if it is no weight file, or a damaged one.
    """
    if file.endswith(".safetensors"):
        name = stored_network(file)
        notes = load_weights(file, name).notes
        net = load_network(name, file)[0].eval().requires_grad_(False)
        return net, {"images": notes.get("images"), "steps": notes.get("steps")}
    checkpoint = read_checkpoint(file)
    name = checkpoint.get("network", "")
    if name not in ("expert_f", "expert_t", "prior", "srnet"):
        raise InputError(f"runs: {file} holds {name or 'no network'}, expected a run of an expert or of the prior")
    kind = NETWORKS[name]
    net = kind.make(kind.config(**plain_config(checkpoint["net_config"])))
    net.load_state_dict(averaged_weights(checkpoint) if averaged else last_weights(checkpoint))
    training = {"images": checkpoint.get("images_seen"), "steps": checkpoint.get("global_step")}
    return net.eval().requires_grad_(False).to(memory_format=torch.channels_last), training  # type: ignore[call-overload]


def restoring(net: nn.Module, expert_f: str | None = None, prior: str | None = None) -> Callable[[Tensor], Tensor]:
    """(B, 3, 256, 256) to (B, 3, 512, 512) by `net`; Expert-T stands on these weight files, None = the released ones.

    Raises:
        WeightsError: if those are missing or do not fit.
    """
    if not isinstance(net, ExpertT):
        return lambda x: cast(Tensor, net(x).image)
    first = cast(ExpertF, load_network("expert_f", expert_f)[0].eval()) if net.config.regress else None
    frozen = Frozen(load_prior(prior)[0], first)
    return lambda x: net(x, frozen).image


def spun(restore: Callable[[Tensor], Tensor], shifts: Sequence[tuple[int, int]]) -> Callable[[Tensor], Tensor]:
    """The mean over the restorations of shifted inputs, shifted back; (B, 3, 256, 256) to (B, 3, 512, 512)."""

    def window(image: Tensor, y: int, x: int, size: int) -> Tensor:
        return image[..., y : y + size, x : x + size]

    def run(x: Tensor) -> Tensor:
        padded, images = F.pad(x, (MARGIN,) * 4, mode="reflect"), []
        for dy, dx in shifts:
            moved = restore(window(padded, MARGIN + dy, MARGIN + dx, x.shape[-1]))
            back = F.pad(moved, (2 * MARGIN,) * 4, mode="reflect")
            images.append(window(back, 2 * (MARGIN - dy), 2 * (MARGIN - dx), moved.shape[-1]))
        return torch.stack(images).mean(0)

    return run


@torch.inference_mode()
def measure(
    restore: Callable[[Tensor], Tensor],
    batches: Iterable[dict[str, Any]],
    metrics: Mapping[str, Any],
    skin: Mapping[str, Any] | None = None,
    keep: Callable[[str, Tensor], None] | None = None,
) -> Figures:
    """Every metric of every restored face, by recipe; mirrored borders count as correct.

    Args:
        restore: (B, 3, 256, 256) to (B, 3, 512, 512).
        batches: of `FixedPairs`.
        metrics: of output and truth at 256.
        skin: of output, truth and (B, 1, 512, 512) bool `valid`, at 512; nan for faces that are not sharp there.
        keep: called with the recipe and each restored face, (3, 512, 512).
    """
    figures: dict[str, dict[str, list[float]]] = {}
    for batch in batches:
        truth, valid = to_float_tensor(batch["truth"]), valid_at_512(batch["valid"])
        restored = round8(restore(to_float_tensor(batch["input"])).clamp(0, 1).contiguous())
        large = torch.where(valid, restored, truth)
        image, small = round8(halve(large)), halve(truth)
        values = {name: metric(image, small) for name, metric in metrics.items()}
        if "PSNR" in values:  # over the pixels that count
            values["PSNR"] = values["PSNR"] + 10 * batch["valid"].float().mean((1, 2)).log10()
        for name, metric in (skin or {}).items():
            values[name] = torch.where(batch["sharp"], metric(large, truth, valid), torch.nan)
        for i, recipe in enumerate(batch["params"]["recipe"]):
            for name, value in values.items():
                figures.setdefault(recipe, {}).setdefault(name, []).append(float(value[i]))
            if keep is not None:
                keep(recipe, restored[i])
    return {recipe: {name: np.array(v) for name, v in rows.items()} for recipe, rows in figures.items()}


SKIN = {
    "sharpness": lambda image, truth, valid: sharpness_ratio(image, truth),
    "specks": lambda image, truth, valid: specks(image, valid),
    "streaks": lambda image, truth, valid: 100 * streaks(image, valid),
}


class Pictures:
    """Keeps pictures as FOLDER/RUN/RECIPE__NUMBER.png, numbered in the order in which they come."""

    def __init__(self, folder: Path, run: str) -> None:
        self.folder, self.counts = folder / run, dict[str, int]()
        self.folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, recipe: str, image: Tensor) -> None:
        self.counts[recipe] = number = self.counts.get(recipe, 0) + 1
        pixels = (image.permute(1, 2, 0) * 255).round().byte().numpy()
        Image.fromarray(pixels).save(self.folder / f"{recipe}__{number:03d}.png")


def table(runs: Mapping[str, Figures]) -> list[str]:
    """Markdown: a row for each recipe and run; differences to the first run in brackets."""
    first = next(iter(runs.values()))
    names = list(next(iter(first.values())))
    lines = ["| recipe | run | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    for recipe in first:
        for run, figures in runs.items():
            cells = []
            for name in names:
                values, base = figures[recipe][name], first[recipe][name]
                cell = f"{mean(values).value:.4g}"
                if values is not base:
                    cell += f" ({interval_text(difference(values, base), '+.3g')})"
                cells.append(cell)
            lines.append(f"| {recipe} | {run} | " + " | ".join(cells) + " |")
    return lines


@torch.inference_mode()
def measure_truths(batches: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Specks and streaks of the photographs themselves, means of the sharp ones."""
    figures: dict[str, list[float]] = {"specks": [], "streaks": []}
    for batch in batches:
        truth, valid, sharp = to_float_tensor(batch["truth"]), valid_at_512(batch["valid"]), batch["sharp"]
        for name, values in figures.items():
            values += SKIN[name](truth, truth, valid)[sharp].tolist()
    return {name: float(np.nanmean(values)) for name, values in figures.items()}


def chosen_faces(root: Path, options: CompareCheckpointsOptions) -> list[FaceRecord]:
    """The real faces of `val` with the attribute, at most `options.faces` at even steps.

    Raises:
        InputError: if the attribute is not known.
        DataError: if no face has it, or the labels cannot be read.
    """
    if not options.attribute:
        return real_faces(root, options.faces)
    if options.attribute not in ATTRIBUTES:
        raise InputError(f"attribute: got {options.attribute}, expected one of {', '.join(ATTRIBUTES)}")
    labels = read_attributes(options.labels)
    records = [r for r in real_faces(root) if options.attribute in labels.get(r.file, ())]
    if not records:
        raise DataError(f"attribute: no real face of val has {options.attribute} in {options.labels}; choose another")
    return every_nth(records, options.faces)


def run(options: CompareCheckpointsOptions) -> None:
    """Measures, prints and writes.

    Raises:
        InputError: if fewer than two runs are named, or one cannot be read.
        DataError: where no faces are named or there are none.
        OutputError: if the file cannot be written.
    """
    if len(options.runs) < 2:
        raise InputError("runs: got fewer than two, expected runs.NAME=CHECKPOINT twice or more")
    if unknown := {*options.shifts, *options.expert_f, *options.prior} - set(options.runs):
        raise InputError(f"shifts, expert_f, prior: got {', '.join(sorted(unknown))}, which is no name in runs")
    if strange := set(options.shifts.values()) - set(SHIFTS):
        raise InputError(f"shifts: got {strange}, expected 1, 2, 4 or 16")
    root = face_folder(options.root)
    records = chosen_faces(root, options)
    pixels = np.stack([read_face(root, r) for r in records])
    pairs = FixedPairs(ArraySource(pixels, records), options.recipes, options.seed)
    embed, lpips = load_embedder().embed_aligned, load_lpips()
    metrics = {"PSNR": psnr, "LPIPS": lpips, "distance": lambda a, b: embedding_distance(embed(a), embed(b))}
    if options.judge:
        judge = load_judge().embed_aligned
        metrics["judge"] = lambda a, b: cosine(judge(a), judge(b))
    figures, notes = dict[str, Figures](), [f"- faces: {len(records)} {options.attribute}".rstrip()]
    loader = DataLoader(pairs, batch_size=8)
    for name, file in options.runs.items():
        net, training = load_run(file, options.averaged)
        keep = Pictures(Path(options.images), name) if options.images else None
        batches = track(loader, name, disable=not sys.stderr.isatty())
        restore = restoring(net, options.expert_f.get(name), options.prior.get(name))
        figures[name] = measure(spun(restore, SHIFTS[options.shifts.get(name, 1)]), batches, metrics, SKIN, keep)
        notes.append(f"- {name}: {training['images']} images in {training['steps']} steps")
    photographs = measure_truths(loader)
    notes.append("- photographs: " + ", ".join(f"{name} {value:.4g}" for name, value in photographs.items()))
    if options.images:
        keep = Pictures(Path(options.images), "input")
        measure(lambda x: F.interpolate(x, scale_factor=2.0, mode="bicubic").clamp(0, 1), loader, {}, keep=keep)
    lines = [*notes, "", *table(figures)]
    write_markdown(Path(options.dst), "Runs side by side", lines)
    print("\n".join(lines))


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(CompareCheckpointsOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
