"""Compares an expert's confidence with its error: `python experiments/confidence/confidence.py`.

On held-out real faces: the rank correlation between low confidence and error over the cells of each face, the mean
confidence by recipe, and the error where confidence is lowest and highest.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.progress import track
from scipy.stats import spearmanr

from likeness.data.degradations.stills import degrade
from likeness.data.faces import read_face
from likeness.errors import ConfigError
from likeness.evaluation.benchmarks.faces import face_folder, real_faces
from likeness.evaluation.methods.experts import load_experts
from likeness.evaluation.report.files import writing
from likeness.evaluation.report.provenance import write_markdown
from likeness.evaluation.report.statistics import mean
from likeness.evaluation.report.tables import interval_text
from likeness.ops.color import to_float
from likeness.stages.restore.base import Expert
from likeness.tasks import arguments
from likeness.types import FloatArray

CELLS = 32  # edge of the grid on which error and confidence are compared


@dataclass
class ConfidenceOptions:
    """Options of the command.

    Attributes:
        experts: expert_f, expert_t.
        root: folder of aligned faces with a manifest; by default LIKENESS_DATA/faces.
        dst: folder of the table and the plot.
        recipes: by which the faces are degraded.
        faces: real ones of `val`, spread evenly.
        seed: of the degradations.
    """

    experts: list[str] = field(default_factory=lambda: ["expert_f"])
    root: str = ""
    dst: str = "experiments/confidence"
    recipes: list[str] = field(default_factory=lambda: ["mild", "gfpgan", "heavy"])
    faces: int = 100
    seed: int = 0


@dataclass(frozen=True)
class Cells:
    """Confidence and error of every cell of every face, (N, CELLS * CELLS) each."""

    confidence: np.ndarray
    error: np.ndarray

    def correlations(self) -> np.ndarray:
        """(N,) Spearman's correlation of error with low confidence, face by face; nan where one of them is constant."""
        pairs = zip(self.confidence, self.error, strict=True)
        return np.array(
            [float(spearmanr(-c, e).statistic) if np.ptp(c) > 0 and np.ptp(e) > 0 else np.nan for c, e in pairs]
        )

    def binned(self, count: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """Mean confidence and mean error of equally many cells each, from the least to the most confident."""
        order = np.argsort(self.confidence, axis=None, kind="stable")
        parts = np.array_split(order, count)
        return tuple(np.array([v.ravel()[p].mean() for p in parts]) for v in (self.confidence, self.error))  # type: ignore[return-value]


def cells_of(confidence: FloatArray, image: FloatArray, truth: FloatArray) -> tuple[np.ndarray, np.ndarray]:
    """Confidence and mean absolute error on the grid, flattened.

    Args:
        confidence: (h, w), h and w multiples of CELLS.
        image, truth: (S, S, 3) in [0, 1] of one size.
    """
    grid = (CELLS, CELLS)
    error = np.abs(image - truth).mean(2)
    return (
        cv2.resize(np.asarray(confidence, np.float32), grid, interpolation=cv2.INTER_AREA).ravel(),
        cv2.resize(np.asarray(error, np.float32), grid, interpolation=cv2.INTER_AREA).ravel(),
    )


def survey(expert: Expert, inputs: Sequence[FloatArray], truths: Sequence[FloatArray]) -> Cells:
    """Restores (256, 256, 3) crops and compares them at 256 with their truths."""
    cells = []
    for crop, truth in zip(inputs, truths, strict=True):
        (restored,) = expert.restore([crop])
        if restored.confidence is None:
            raise ConfigError(f"experts: {expert.name} has no confidence, expected expert_f or expert_t")
        small = np.asarray(cv2.resize(restored.image, truth.shape[1::-1], interpolation=cv2.INTER_AREA), np.float32)
        cells.append(cells_of(restored.confidence, small, truth))
    confidences, errors = zip(*cells, strict=True)
    return Cells(np.stack(confidences), np.stack(errors))


def plot(surveys: Mapping[tuple[str, str], Cells], file: Path) -> None:
    """Error against confidence, one line an expert and recipe."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    for (expert, recipe), cells in surveys.items():
        panel.plot(*cells.binned(), marker="o", markersize=3, label=f"{expert}, {recipe}")
    panel.set(xlabel="confidence", ylabel="mean absolute error of a cell", ylim=(0, None))
    panel.legend(fontsize="small")
    panel.grid(alpha=0.3)
    figure.savefig(file, dpi=110, metadata={"Software": None})


def table(surveys: Mapping[tuple[str, str], Cells]) -> list[str]:
    """Markdown, a row for each expert and recipe."""
    head = ("expert", "recipe", "mean confidence", "correlation of low confidence with error")
    lines = [f"| {' | '.join((*head, 'error, least confident tenth', 'error, most confident tenth'))} |"]
    lines.append("|---|---|---|---|---|---|")
    for (expert, recipe), cells in surveys.items():
        confidence = interval_text(mean(cells.confidence.mean(1)), ".3f")
        correlation = interval_text(mean(cells.correlations()), ".2f")
        _, errors = cells.binned()
        lines.append(f"| {expert} | {recipe} | {confidence} | {correlation} | {errors[0]:.4f} | {errors[-1]:.4f} |")
    return lines


def run(options: ConfidenceOptions) -> None:
    """Measures, prints and writes.

    Raises:
        ConfigError: for an unknown expert.
        DataError: where no faces are named or there are none.
        OutputError: if the folder cannot be written.
    """
    experts = load_experts(options.experts)
    root = face_folder(options.root)
    records = real_faces(root, options.faces)
    pixels = [read_face(root, record, 256) for record in records]
    truths = [to_float(p) for p in pixels]
    surveys = dict[tuple[str, str], Cells]()
    for expert in experts:
        for k, recipe in enumerate(options.recipes):
            inputs = [
                to_float(degrade(p, recipe, np.random.default_rng([options.seed, k, i]))[0])
                for i, p in enumerate(pixels)
            ]
            shown = track(inputs, f"{expert.name}, {recipe}", disable=not sys.stderr.isatty())
            surveys[expert.name, recipe] = survey(expert, list(shown), truths)
    lines = table(surveys)
    folder = Path(options.dst)
    with writing(folder, "dst"):
        plot(surveys, folder / "confidence.png")
    facts = {"faces": len(records), "weights": {e.name: e.sha256 for e in experts}}
    shown_lines = [*lines, "", "![error against confidence](confidence.png)"]
    write_markdown(folder / "table.md", "Confidence and error", shown_lines, facts)
    print("\n".join(lines))


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(ConfidenceOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
