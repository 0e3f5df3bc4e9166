"""Measures the gate on people that it was not trained on: `python experiments/gate/gate_curves.py`.

Its cost beside that of always one expert and of the oracle, the rise of that cost when one feature is shuffled, the
reliability of its probabilities (Guo et al., ICML 2017, section 2), and the experts' cost over width and sharpness.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from likeness.evaluation.benchmarks.faces import face_folder
from likeness.evaluation.report.files import writing
from likeness.evaluation.report.provenance import write_markdown
from likeness.evaluation.report.statistics import Interval, bootstrap, difference, mean
from likeness.evaluation.report.tables import interval_text
from likeness.nets.gate import FEATURES, LEAVE_THRESHOLD, THRESHOLD, Gate, outcomes
from likeness.tasks import arguments
from likeness.training.gate_data import GateDataModule
from likeness.training.gate_table import GateTable
from likeness.weights.networks import load_network

Values = npt.NDArray[np.float64]
_BINS = 8


@dataclass
class GateCurvesOptions:
    """Options of the command; those of the table as in configs/data/gate.yaml, so that its cache is found.

    Attributes:
        gate: weight file; empty = the released one.
        root: folder of aligned faces with a manifest; by default LIKENESS_DATA/faces.
        cache: where training keeps the table.
        widths: photos of each face and recipe.
        faces: at most so many, 0 = all.
        held_out: fraction of the people that training did not see.
        soft: fractions of photos of soft faces, a table of each.
        wide: photos of each face that are wide and good.
        seed: of photos, split and shuffling.
        dst: folder of the table and the plot.
    """

    gate: str = ""
    root: str = ""
    cache: str = "logs/cache"
    widths: int = 3
    faces: int = 0
    held_out: float = 0.25
    soft: list[float] = field(default_factory=lambda: [0.0, 0.5])
    wide: int = 1
    seed: int = 7
    dst: str = "experiments/gate"


def choices(gate: Gate, table: GateTable) -> dict[str, Values]:
    """(N,) cost of each sample by choice: always one, the gate without and with leaving faces alone, the oracle."""
    expert_t, expert_f, left = table.costs.T
    better, leave = gate.probabilities(table.features).T
    chosen = np.where(better > THRESHOLD, expert_t, expert_f)
    return {
        "always Expert-T": expert_t,
        "always Expert-F": expert_f,
        "always left alone": left,
        "gate, never leaving": chosen,
        "gate": np.where(leave > LEAVE_THRESHOLD, left, chosen),
        "oracle": table.costs.min(1),
    }


def shuffled(gate: Gate, table: GateTable, seed: int) -> dict[str, Interval]:
    """Rise of the gate's mean cost when one feature is permuted over the faces, by feature.

    Permutation importance (Breiman, Machine Learning 45, 2001, section 10).
    """
    plain = choices(gate, table)["gate"]
    rises = {}
    for i, name in enumerate(FEATURES):
        permuted = table.features.copy()
        permuted[:, i] = np.random.default_rng([seed, i]).permutation(permuted[:, i])
        rises[name] = difference(choices(gate, GateTable(permuted, table.costs, table.people))["gate"], plain)
    return rises


def reliability(probabilities: Values, better: npt.NDArray[np.bool_], count: int = _BINS) -> tuple[Values, Values]:
    """Mean probability and observed fraction in equally filled bins, from the least probable up."""
    parts = np.array_split(np.argsort(probabilities, kind="stable"), count)
    return np.array([probabilities[p].mean() for p in parts]), np.array([better[p].mean() for p in parts])


def over(values: Values, costs: Mapping[str, Values], count: int = _BINS) -> tuple[Values, dict[str, Values]]:
    """Mean of a feature and of each cost in equally filled bins of the feature."""
    parts = np.array_split(np.argsort(values, kind="stable"), count)
    means = {name: np.array([c[p].mean() for p in parts]) for name, c in costs.items()}
    return np.array([values[p].mean() for p in parts]), means


def plot(gate: Gate, table: GateTable, file: Path) -> None:
    """Reliability, and the costs over width and sharpness."""
    figure = Figure(figsize=(13, 4), layout="constrained")
    FigureCanvasAgg(figure)
    first, *others = figure.subplots(1, 3)
    first.plot([0, 1], [0, 1], color="0.7")
    happened = outcomes(torch.from_numpy(table.costs)).numpy() > 0
    probabilities = gate.probabilities(table.features)
    for i, name in enumerate(("Expert-T is better", "better left alone")):
        first.plot(*reliability(probabilities[:, i], happened[:, i]), marker="o", label=name)
    first.set(xlabel="probability", ylabel="fraction where it was so", xlim=(0, 1), ylim=(0, 1))
    first.legend(fontsize="small")
    for panel, name in zip(others, ("width", "sharpness"), strict=True):
        places, costs = over(table.features[:, FEATURES.index(name)].astype(np.float64), choices(gate, table))
        for choice, values in costs.items():
            panel.plot(places, values, marker="o", markersize=3, label=choice)
        panel.set(xlabel=name, ylabel="mean cost", xscale="log" if name == "sharpness" else "linear")
        panel.legend(fontsize="small")
    figure.savefig(file, dpi=110, metadata={"Software": None})


def lines_of(gate: Gate, table: GateTable, seed: int) -> list[str]:
    """The two tables as Markdown."""
    costs = choices(gate, table)
    head = ["choice", "mean cost", "above the oracle", "fraction of the better single expert's"]
    lines = [f"| {' | '.join(head)} |", "|---|---|---|---|"]
    single = min(("always Expert-T", "always Expert-F"), key=lambda name: float(costs[name].mean()))
    for name, values in costs.items():
        above = difference(values, costs["oracle"])
        fraction = bootstrap(lambda a, b: a / b, values - costs["oracle"], costs[single] - costs["oracle"])
        cells = interval_text(mean(values), ".4f"), interval_text(above, ".4f"), interval_text(fraction, ".2f")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "| permuted feature | rise of the gate's cost |", "|---|---|"]
    rises = shuffled(gate, table, seed)
    return lines + [f"| {name} | {interval_text(rise, '.4f')} |" for name, rise in rises.items()]


def run(options: GateCurvesOptions) -> None:
    """Measures, prints and writes `table.md` and `curves.png`.

    Raises:
        DataError: where no faces are named or there are none.
        WeightsError: if the gate is missing or of another kind.
        OutputError: if the folder cannot be written.
    """
    root = face_folder(options.root)
    net, sha256 = load_network("gate", options.gate or None)
    gate = cast(Gate, net.eval())
    module = GateDataModule(
        root=str(root),
        cache=options.cache,
        widths=options.widths,
        faces=options.faces,
        held_out=options.held_out,
        seed=options.seed,
        soft_truth=options.soft,
        wide=options.wide,
    )
    module.setup()
    assert module.train is not None
    assert module.val is not None
    table = module.val
    lines = lines_of(gate, table, options.seed)
    folder = Path(options.dst)
    with writing(folder, "dst"):
        plot(gate, table, folder / "curves.png")
    facts = {
        "samples": len(table.features),
        "people": len(np.unique(table.people)),
        "samples trained on": len(module.train.features),
        "weights": {"gate": sha256},
    }
    write_markdown(
        folder / "table.md",
        "The gate on people that it was not trained on",
        [*lines, "", "![reliability and costs](curves.png)"],
        facts,
    )
    print("\n".join(lines))


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(GateCurvesOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
