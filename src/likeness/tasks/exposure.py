"""Are dark faces as bright as the truth? `python -m likeness.tasks.exposure` writes experiments/exposure/table.md.

Held-out real faces are darkened, degraded, and restored by each expert: as they are, and with the exposure settled
around the expert, which is what `infer.py` does. The truth is the darkened clean face.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from rich.progress import track

from likeness.data.degradations.recipes import sample_params
from likeness.data.degradations.stills import apply_degradation
from likeness.data.faces import FaceRecord, read_face, read_manifest, split_records
from likeness.errors import ConfigError, DataError
from likeness.evaluation import provenance
from likeness.evaluation.statistics import Interval, difference, mean
from likeness.media.images import ImageMeta, write_image
from likeness.nets.face_embedder import FaceEmbedder, load_embedder
from likeness.ops.color import grey, to_float, to_integer
from likeness.ops.geometry import EYE_DISTANCE_256, enlarged, template
from likeness.ops.mask import template_mask
from likeness.stages.identity import distance, embed
from likeness.stages.restore.base import ExposedExpert
from likeness.stages.restore.expert_f import load_expert_f
from likeness.stages.restore.expert_t import load_expert_t
from likeness.stages.restore.exposure import gain
from likeness.tasks import arguments
from likeness.types import FloatArray, Frame, Pixels

SIZE = 256
QUANTILE = 0.99
BAR = 0.05  # by which a bright percentile may differ from the truth's


@dataclass
class ExposureOptions:
    """Options of the command.

    Attributes:
        experts: expert_f, expert_t.
        root: folder of aligned faces with a manifest; by default LIKENESS_DATA/faces.
        dst: folder of the table.
        recipes: what the darkened faces are degraded by.
        faces: real ones of `val`, spread evenly.
        darkest, brightest: exposures of the first and of the last face, factors of their pixel values; the others'
            lie evenly between.
        known: faces whose gain at full exposure is counted.
        seed: of the degradations.
        sheets: folder for pictures of every face: input, as it is, settled, truth, all divided by the exposure.
    """

    experts: list[str] = field(default_factory=lambda: ["expert_f", "expert_t"])
    root: str = ""
    dst: str = "experiments/exposure"
    recipes: list[str] = field(default_factory=lambda: ["gfpgan", "mild"])
    faces: int = 10
    darkest: float = 0.2
    brightest: float = 0.4
    known: int = 400
    seed: int = 0
    sheets: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.darkest <= self.brightest <= 1 or self.faces < 1 or self.known < 1:
            raise ConfigError(
                f"got darkest={self.darkest}, brightest={self.brightest}, faces={self.faces}, known={self.known}; "
                "expected 0 < darkest <= brightest <= 1 and at least one face"
            )


class Figures(NamedTuple):
    """One restored face beside its truth.

    Attributes:
        psnr: of the face window, dB.
        eyes, face: 99th percentile of luma in the windows of the eyes and of the face, over the truth's.
        distance: of the embedder.
    """

    psnr: float
    eyes: float
    face: float
    distance: float


def eye_window(size: int) -> np.ndarray:
    """(size, size) bool: both eyes with their whites, half an eye distance wide and a quarter high each."""
    y, x = np.mgrid[:size, :size]
    far = EYE_DISTANCE_256 * size / SIZE
    eyes = template(size)[:2]
    near = [(abs(x - cx) <= far / 4) & (abs(y - cy) <= far / 8) for cx, cy in eyes]
    return np.asarray(near[0] | near[1])


def compare(image: FloatArray, truth: FloatArray, embedder: FaceEmbedder) -> Figures:
    """The figures of one face; both (256, 256, 3) in [0, 1]."""
    face, eyes = template_mask(SIZE) > 0.5, eye_window(SIZE)
    error = float(np.square(image - truth, dtype=np.float64)[face].mean())
    bright, true = grey(image), grey(truth)

    def ratio(window: np.ndarray) -> float:
        return float(np.quantile(bright[window], QUANTILE) / np.quantile(true[window], QUANTILE))

    moved = distance(embed(embedder, image, 1), embed(embedder, truth, 1))
    return Figures(-10 * float(np.log10(max(error, 1e-12))), ratio(eyes), ratio(face), moved)


def survey(
    expert: ExposedExpert, inputs: Sequence[FloatArray], truths: Sequence[FloatArray], embedder: FaceEmbedder
) -> tuple[dict[str, list[Figures]], list[list[FloatArray]]]:
    """Restores (256, 256, 3) crops twice.

    Returns:
        Figures of "as it is" and "settled", a face each; and the images, (256, 256, 3), of each face both.
    """
    found: dict[str, list[Figures]] = {"as it is": [], "settled": []}
    images = []
    for crop, truth in zip(inputs, truths, strict=True):
        images.append([_small(expert.restore([crop], known)[0].image) for known in ([1.0], None)])
        for figures, image in zip(found.values(), images[-1], strict=True):
            figures.append(compare(image, truth, embedder))
    return found, images


def table(found: Mapping[tuple[str, str, str], Sequence[Figures]]) -> list[str]:
    """Markdown; keys are who, recipe, and how."""
    lines = [
        "| expert | recipe | exposure | PSNR, dB | whites of the eyes over truth | within 5 % | "
        "bright skin over truth | within 5 % | embedder distance |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for key, figures in found.items():
        psnr, eyes, face, moved = np.array(figures, np.float64).T
        cells = [_figure(mean(psnr), 2)]
        for ratio in (eyes, face):
            inside = int((np.abs(ratio - 1) <= BAR).sum())
            cells += [f"{_figure(mean(ratio), 3)}, {ratio.min():.2f} to {ratio.max():.2f}", f"{inside} of {len(ratio)}"]
        lines.append(f"| {' | '.join((*key, *cells, _figure(mean(moved), 3)))} |")
    return lines


def bought(found: Mapping[tuple[str, str, str], Sequence[Figures]]) -> list[str]:
    """Markdown: what settling the exposure changes, paired by face."""
    lines = ["| expert | recipe | PSNR, dB | embedder distance |", "|---|---|---|---|"]
    for who, recipe, how in found:
        if how == "settled":
            after, before = (np.array(found[who, recipe, h], np.float64) for h in ("settled", "as it is"))
            psnr, moved = (_figure(difference(after[:, i], before[:, i]), 3) for i in (0, 3))
            lines.append(f"| {who} | {recipe} | {psnr} | {moved} |")
    return lines


def run(options: ExposureOptions) -> None:
    """Measures, prints and writes.

    Raises:
        ConfigError: for an unknown expert.
        DataError: where no faces are named or there are none.
        OutputError: if the folder cannot be written.
    """
    loaders: Mapping[str, Callable[[], ExposedExpert]] = {"expert_f": load_expert_f, "expert_t": load_expert_t}
    if not options.experts or set(options.experts) - set(loaders):
        raise ConfigError(f"experts: got {options.experts}, expected some of {', '.join(loaders)}")
    data = os.environ.get("LIKENESS_DATA", "")
    if not options.root and not data:
        raise DataError("exposure: no faces; give root=DIR or set LIKENESS_DATA")
    root = Path(options.root) if options.root else Path(data) / "faces"
    records = [r for r in split_records(read_manifest(root), "val") if r.kind == "real"]
    if not records:
        raise DataError(f"exposure: {root}/manifest.csv has no real face in split val")
    gains = [gain(to_float(read_face(root, r, SIZE))) for r in _spread(records, options.known)]
    pixels = [read_face(root, r, SIZE) for r in _spread(records, options.faces)]
    exposures = np.linspace(options.darkest, options.brightest, len(pixels))
    dark = [to_integer(to_float(p) * np.float32(e)) for p, e in zip(pixels, exposures, strict=True)]
    truths = [to_float(p) for p in dark]
    experts = [loaders[name]() for name in options.experts]
    embedder, found = load_embedder(), dict[tuple[str, str, str], list[Figures]]()
    for k, recipe in enumerate(options.recipes):
        inputs = [_degraded(p, recipe, (options.seed, k, i)) for i, p in enumerate(dark)]
        plain = [_degraded(p, recipe, (options.seed, k, i)) for i, p in enumerate(pixels)]
        shown: list[list[FloatArray]] = [[crop] for crop in inputs]
        found["input", recipe, "none"] = [compare(c, t, embedder) for c, t in zip(inputs, truths, strict=True)]
        for expert in experts:
            watched = list(track(inputs, f"{expert.name}, {recipe}", disable=not sys.stderr.isatty()))
            figures, images = survey(expert, watched, truths, embedder)
            for how, values in figures.items():
                found[expert.name, recipe, how] = values
            for row, both in zip(shown, images, strict=True):
                row += both
            found[expert.name, recipe, "of the undarkened face"] = [
                compare(_small(expert.restore([c])[0].image), to_float(p), embedder)
                for c, p in zip(plain, pixels, strict=True)
            ]
        if options.sheets:
            Path(options.sheets).mkdir(parents=True, exist_ok=True)
            for i, (row, truth, exposure) in enumerate(zip(shown, truths, exposures, strict=True)):
                sheet = np.concatenate([enlarged(c, 2 * SIZE) for c in (*row, truth)], 1) / np.float32(exposure)
                write_image(Path(options.sheets) / f"{recipe}_{i:02d}.png", Frame(to_integer(sheet)), ImageMeta())
    ordinary = sum(by == 1 for by in gains)
    lines = [
        *table(found),
        "",
        "Settled less as it is, face by face:",
        "",
        *bought(found),
        "",
        f"{ordinary} of {len(gains)} faces at full exposure have a gain of exactly 1; the largest is {max(gains):.2f}.",
    ]
    facts = {"faces": len(pixels), "weights": {e.name: e.sha256 for e in experts}}
    provenance.write_markdown(Path(options.dst) / "table.md", "Dark faces", lines, facts)
    print("\n".join(lines))


def _spread(records: Sequence[FaceRecord], count: int) -> Sequence[FaceRecord]:
    return records[:: max(1, len(records) // count)][:count]


def _degraded(pixels: Pixels, recipe: str, seed: Sequence[int]) -> FloatArray:
    rng = np.random.default_rng(list(seed))
    return to_float(apply_degradation(pixels, sample_params(recipe, rng), rng))


def _small(image: FloatArray) -> FloatArray:
    return np.asarray(cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA), np.float32)


def _figure(interval: Interval, digits: int) -> str:
    return f"{interval.value:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(ExposureOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
