"""Compares the brightness of restored dark faces with the truth: `python experiments/exposure/exposure.py`.

Held-out real faces are darkened, degraded, and restored by each expert: as they are, and with the exposure normalised
around the expert, as in infer.py. The truth is the darkened clean face.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from rich.progress import track

from likeness.data.degradations.stills import degrade
from likeness.data.faces import read_face
from likeness.errors import ConfigError
from likeness.evaluation.benchmarks.faces import every_nth, face_folder, real_faces
from likeness.evaluation.methods.experts import load_experts
from likeness.evaluation.report.files import writing
from likeness.evaluation.report.provenance import write_markdown
from likeness.evaluation.report.statistics import difference, mean
from likeness.evaluation.report.tables import interval_text
from likeness.media.image_writer import write_image
from likeness.media.images import ImageMeta
from likeness.nets.face_embedder import FaceEmbedder, load_embedder
from likeness.ops.color import grey, to_float, to_integer
from likeness.ops.geometry import EYE_DISTANCE_256, enlarged, template
from likeness.ops.mask import template_mask
from likeness.stages.identity import distance, embed
from likeness.stages.restore.base import Expert
from likeness.stages.restore.exposure import gain
from likeness.tasks import arguments
from likeness.types import Conditions, FloatArray, Frame, Pixels

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
        recipes: by which the darkened faces are degraded.
        faces: real ones of `val`, spread evenly.
        darkest, brightest: exposures of the first and of the last face, factors of their pixel values; those of the
            others lie evenly between.
        undarkened: faces whose gain at full exposure is counted.
        seed: of the degradations.
        sheets: folder for pictures of every face: input, as it is, normalised, truth, all divided by the exposure.
    """

    experts: list[str] = field(default_factory=lambda: ["expert_f", "expert_t"])
    root: str = ""
    dst: str = "experiments/exposure"
    recipes: list[str] = field(default_factory=lambda: ["gfpgan", "mild"])
    faces: int = 10
    darkest: float = 0.2
    brightest: float = 0.4
    undarkened: int = 400
    seed: int = 0
    sheets: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.darkest <= self.brightest <= 1 or self.faces < 1 or self.undarkened < 1:
            raise ConfigError(
                f"got darkest={self.darkest}, brightest={self.brightest}, faces={self.faces}, "
                f"undarkened={self.undarkened}; "
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
    eye_distance = EYE_DISTANCE_256 * size / SIZE
    eyes = template(size)[:2]
    left, right = [(abs(x - cx) <= eye_distance / 4) & (abs(y - cy) <= eye_distance / 8) for cx, cy in eyes]
    return np.asarray(left | right)


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
    expert: Expert, inputs: Sequence[FloatArray], truths: Sequence[FloatArray], embedder: FaceEmbedder
) -> tuple[dict[str, list[Figures]], list[list[FloatArray]]]:
    """Restores (256, 256, 3) crops twice.

    Returns:
        Figures of "as it is" and "normalised", one for each face; and the images, (256, 256, 3), two for each face.
    """
    figures: dict[str, list[Figures]] = {"as it is": [], "normalised": []}
    images = []
    for crop, truth in zip(inputs, truths, strict=True):
        images.append(
            [_small(expert.restore([crop], given)[0].image) for given in ([Conditions(None, 1.0, 1.0)], None)]
        )
        for values, image in zip(figures.values(), images[-1], strict=True):
            values.append(compare(image, truth, embedder))
    return figures, images


def table(rows: Mapping[tuple[str, str, str], Sequence[Figures]]) -> list[str]:
    """Markdown; keys are expert, recipe, and exposure."""
    lines = [
        "| expert | recipe | exposure | PSNR, dB | whites of the eyes over truth | within 5 % | "
        "bright skin over truth | within 5 % | embedder distance |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for key, figures in rows.items():
        psnr, eyes, face, distances = np.array(figures, np.float64).T
        cells = [interval_text(mean(psnr), ".2f")]
        for ratio in (eyes, face):
            inside = int((np.abs(ratio - 1) <= BAR).sum())
            spread = f"{ratio.min():.2f} to {ratio.max():.2f}"
            cells += [f"{interval_text(mean(ratio), '.3f')}, {spread}", f"{inside} of {len(ratio)}"]
        lines.append(f"| {' | '.join((*key, *cells, interval_text(mean(distances), '.3f')))} |")
    return lines


def change_table(rows: Mapping[tuple[str, str, str], Sequence[Figures]]) -> list[str]:
    """Markdown: the change by normalising the exposure, paired by face."""
    lines = ["| expert | recipe | PSNR, dB | embedder distance |", "|---|---|---|---|"]
    for expert, recipe, exposure in rows:
        if exposure == "normalised":
            after, before = (np.array(rows[expert, recipe, e], np.float64) for e in ("normalised", "as it is"))
            psnr, moved = (interval_text(difference(after[:, i], before[:, i]), ".3f") for i in (0, 3))
            lines.append(f"| {expert} | {recipe} | {psnr} | {moved} |")
    return lines


def run(options: ExposureOptions) -> None:
    """Measures, prints and writes.

    Raises:
        ConfigError: for an unknown expert.
        DataError: where no faces are named or there are none.
        OutputError: if the folder cannot be written.
    """
    experts = load_experts(options.experts)
    root = face_folder(options.root)
    records = real_faces(root)
    gains = [gain(to_float(read_face(root, r, SIZE))) for r in every_nth(records, options.undarkened)]
    pixels = [read_face(root, r, SIZE) for r in every_nth(records, options.faces)]
    exposures = np.linspace(options.darkest, options.brightest, len(pixels))
    dark = [to_integer(to_float(p) * np.float32(e)) for p, e in zip(pixels, exposures, strict=True)]
    truths = [to_float(p) for p in dark]
    embedder, rows = load_embedder(), dict[tuple[str, str, str], list[Figures]]()
    for k, recipe in enumerate(options.recipes):
        inputs = [_degraded(p, recipe, (options.seed, k, i)) for i, p in enumerate(dark)]
        undarkened = [_degraded(p, recipe, (options.seed, k, i)) for i, p in enumerate(pixels)]
        pictures: list[list[FloatArray]] = [[crop] for crop in inputs]
        rows["input", recipe, "none"] = [compare(c, t, embedder) for c, t in zip(inputs, truths, strict=True)]
        for expert in experts:
            crops = list(track(inputs, f"{expert.name}, {recipe}", disable=not sys.stderr.isatty()))
            figures, images = survey(expert, crops, truths, embedder)
            for exposure, values in figures.items():
                rows[expert.name, recipe, exposure] = values
            for row, both in zip(pictures, images, strict=True):
                row += both
            rows[expert.name, recipe, "of the undarkened face"] = [
                compare(_small(expert.restore([c])[0].image), to_float(p), embedder)
                for c, p in zip(undarkened, pixels, strict=True)
            ]
        if options.sheets:
            _write_sheets(Path(options.sheets), recipe, pictures, truths, exposures)
    ordinary = sum(value == 1 for value in gains)
    lines = [
        *table(rows),
        "",
        "Normalised less as it is, face by face:",
        "",
        *change_table(rows),
        "",
        f"{ordinary} of {len(gains)} faces at full exposure have a gain of exactly 1; the largest is {max(gains):.2f}.",
    ]
    facts = {"faces": len(pixels), "weights": {e.name: e.sha256 for e in experts}}
    write_markdown(Path(options.dst) / "table.md", "Dark faces", lines, facts)
    print("\n".join(lines))


def _write_sheets(
    folder: Path,
    recipe: str,
    pictures: Sequence[Sequence[FloatArray]],
    truths: Sequence[FloatArray],
    exposures: np.ndarray,
) -> None:
    with writing(folder, "sheets"):
        for i, (row, truth, exposure) in enumerate(zip(pictures, truths, exposures, strict=True)):
            sheet = np.concatenate([enlarged(c, 2 * SIZE) for c in (*row, truth)], 1) / np.float32(exposure)
            write_image(folder / f"{recipe}_{i:02d}.png", Frame(to_integer(sheet)), ImageMeta())


def _degraded(pixels: Pixels, recipe: str, seed: Sequence[int]) -> FloatArray:
    return to_float(degrade(pixels, recipe, np.random.default_rng(list(seed)))[0])


def _small(image: FloatArray) -> FloatArray:
    return np.asarray(cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA), np.float32)


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(ExposureOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
