"""Does an expert know where it is wrong? `python -m likeness.tasks.confidence` plots confidence against error.

On held-out real faces: the rank correlation between low confidence and error over the cells of each face, the mean
confidence by recipe, and how large the error is where confidence is low and where it is high.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.progress import track
from scipy.stats import spearmanr

from likeness.data.degradations.recipes import sample_params
from likeness.data.degradations.stills import apply_degradation
from likeness.data.faces import read_face, read_manifest, split_records
from likeness.errors import ConfigError, DataError, OutputError
from likeness.evaluation import provenance
from likeness.evaluation.statistics import mean
from likeness.stages.restore.base import Expert
from likeness.stages.restore.expert_f import load_expert_f
from likeness.stages.restore.expert_t import load_expert_t
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
        recipes: what the faces are degraded by.
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
        found = [float(spearmanr(-c, e).statistic) if np.ptp(c) > 0 and np.ptp(e) > 0 else np.nan for c, e in pairs]
        return np.array(found)

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
    confidence, error = [], []
    for crop, truth in zip(inputs, truths, strict=True):
        (found,) = expert.restore([crop])
        if found.confidence is None:
            raise ConfigError(f"experts: {expert.name} states no confidence, expected expert_f or expert_t")
        small = np.asarray(cv2.resize(found.image, truth.shape[1::-1], interpolation=cv2.INTER_AREA), np.float32)
        sure, wrong = cells_of(found.confidence, small, truth)
        confidence.append(sure)
        error.append(wrong)
    return Cells(np.stack(confidence), np.stack(error))


def plot(found: Mapping[tuple[str, str], Cells], file: Path) -> None:
    """Error against confidence, one line an expert and recipe."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    for (expert, recipe), cells in found.items():
        panel.plot(*cells.binned(), marker="o", markersize=3, label=f"{expert}, {recipe}")
    panel.set(xlabel="confidence", ylabel="mean absolute error of a cell", ylim=(0, None))
    panel.legend(fontsize="small")
    panel.grid(alpha=0.3)
    figure.savefig(file, dpi=110, metadata={"Software": None})


def run(options: ConfidenceOptions) -> None:
    """Measures, prints and writes.

    Raises:
        ConfigError: for an unknown expert.
        DataError: where no faces are named or there are none.
        OutputError: if the folder cannot be written.
    """
    loaders: Mapping[str, Callable[[], Expert]] = {"expert_f": load_expert_f, "expert_t": load_expert_t}
    if not options.experts or set(options.experts) - set(loaders):
        raise ConfigError(f"experts: got {options.experts}, expected some of {', '.join(loaders)}")
    data = os.environ.get("LIKENESS_DATA", "")
    if not options.root and not data:
        raise DataError("confidence: no faces; give root=DIR or set LIKENESS_DATA")
    root = Path(options.root) if options.root else Path(data) / "faces"
    records = [r for r in split_records(read_manifest(root), "val") if r.kind == "real"]
    records = records[:: max(1, len(records) // options.faces)][: options.faces]
    if not records:
        raise DataError(f"confidence: {root}/manifest.csv has no real face in split val")
    pixels = [read_face(root, record, 256) for record in records]
    truths = [(p / 255).astype(np.float32) for p in pixels]
    found = dict[tuple[str, str], Cells]()
    experts: list[Expert] = [loaders[name]() for name in options.experts]
    for expert in experts:
        for k, recipe in enumerate(options.recipes):
            draws = [np.random.default_rng([options.seed, k, i]) for i in range(len(pixels))]
            poor = [apply_degradation(p, sample_params(recipe, g), g) for p, g in zip(pixels, draws, strict=True)]
            inputs = [(p / 255).astype(np.float32) for p in poor]
            watched = track(inputs, f"{expert.name}, {recipe}", disable=not sys.stderr.isatty())
            found[expert.name, recipe] = survey(expert, list(watched), truths)
    lines = table(found)
    folder = Path(options.dst)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        plot(found, folder / "confidence.png")
    except OSError as error:
        raise OutputError(f"dst: cannot write to {folder} ({error.strerror}); choose another dst=DIR") from error
    facts = {"faces": len(records), "weights": {e.name: e.sha256 for e in experts}}
    shown = [*lines, "", "![error against confidence](confidence.png)"]
    provenance.write_markdown(folder / "table.md", "Confidence and error", shown, facts)
    print("\n".join(lines))


def table(found: Mapping[tuple[str, str], Cells]) -> list[str]:
    """Markdown, a row for each expert and recipe."""
    head = ("expert", "recipe", "mean confidence", "correlation of low confidence with error")
    lines = [f"| {' | '.join((*head, 'error, least sure tenth', 'error, surest tenth'))} |"]
    lines.append("|---|---|---|---|---|---|")
    for (expert, recipe), cells in found.items():
        sure, linked = mean(cells.confidence.mean(1)), mean(cells.correlations())
        _, errors = cells.binned()
        lines.append(
            f"| {expert} | {recipe} | {sure.value:.3f} [{sure.low:.3f}, {sure.high:.3f}] | {linked.value:.2f} "
            f"[{linked.low:.2f}, {linked.high:.2f}] | {errors[0]:.4f} | {errors[-1]:.4f} |"
        )
    return lines


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(ConfidenceOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
