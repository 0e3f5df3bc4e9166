"""Plots of the tables: bars, the fidelity knob, and the routes of the faces."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from likeness.evaluation.methods.crops import FIDELITY
from likeness.evaluation.report.metrics import COLUMNS
from likeness.evaluation.report.summary import Row
from likeness.types import Profile, Route

_ACROSS = 3
_PANEL = (4.2, 3.0)  # inches


def plot(rows: Sequence[Row], title: str, file: Path) -> None:
    """One panel a metric: bars by recipe and method with their intervals, written as PNG.

    Args:
        rows: of one view.
        title: above the panels.
        file: to write; the same rows give the same bytes.
    """
    metrics = [m for m in COLUMNS if any(r.metric == m.name for r in rows)]
    recipes = list(dict.fromkeys(r.recipe for r in rows))
    methods = list(dict.fromkeys(r.method for r in rows))
    figure, panels = _figure(len(metrics))
    width = 0.8 / len(methods)
    for panel, info in zip(panels, metrics, strict=True):
        for k, method in enumerate(methods):
            bars = {r.recipe: r.figure for r in rows if (r.metric, r.method) == (info.name, method)}
            finite = {x: i for x, name in enumerate(recipes) if (i := bars.get(name)) and math.isfinite(i.value)}
            values = np.array([i.value for i in finite.values()])
            # Where no interval was estimated, none is drawn.
            spread = np.abs(np.array([[i.low, i.high] for i in finite.values()]).reshape(-1, 2).T - values)
            at = np.array(list(finite), dtype=float) + (k - (len(methods) - 1) / 2) * width
            panel.bar(at, values, width, yerr=np.nan_to_num(spread), capsize=2, label=method, color=f"C{k}")
        panel.set_xticks(range(len(recipes)), recipes)
        panel.set_title(f"{info.label} {info.better}", fontsize="medium")
        panel.margins(y=0.15)
    _finish(figure, panels[-1], title, file)


def plot_fidelity(rows: Sequence[Row], title: str, file: Path) -> bool:
    """Curves over Expert-T's fidelity, a panel a metric and a line a recipe.

    Returns:
        False, and no file, where fewer than three fidelities were run.
    """
    methods = [m for m in FIDELITY if any(r.method == m for r in rows)]
    if len(methods) < 3:
        return False
    metrics = [m for m in COLUMNS if any(r.metric == m.name and r.method == methods[0] for r in rows)]
    figure, panels = _figure(len(metrics))
    for panel, info in zip(panels, metrics, strict=True):
        for recipe in dict.fromkeys(r.recipe for r in rows):
            values = {r.method: r.figure.value for r in rows if (r.metric, r.recipe) == (info.name, recipe)}
            panel.plot([FIDELITY[m] for m in methods], [values[m] for m in methods], "o-", label=recipe)
        panel.set_title(f"{info.label} {info.better}", fontsize="medium")
    _finish(figure, panels[0], f"{title}: fidelity 0 (prior) to 1 (input)", file)
    return True


def plot_routes(
    profiles: Mapping[str, npt.NDArray[np.float64]], route: Callable[[Profile], str], title: str, file: Path
) -> None:
    """Sharpness over width of every face, coloured by its route; one panel a recipe.

    Args:
        profiles: recipe to (N, 6), in the order of `types.Profile`.
        route: a profile's route.
        title: above the panels.
        file: to write; the same profiles give the same bytes.
    """
    figure = Figure(figsize=(_PANEL[0] * len(profiles), _PANEL[1] + 0.8), layout="constrained")
    FigureCanvasAgg(figure)
    for panel, (recipe, rows) in zip(
        figure.subplots(1, len(profiles), squeeze=False)[0], profiles.items(), strict=True
    ):
        faces = [Profile(*row) for row in rows.tolist()]
        routes = [route(face) for face in faces]
        for k, name in enumerate(get_args(Route)):
            part = [f for f, r in zip(faces, routes, strict=True) if r == name]
            label = f"{name} ({len(part)})"
            panel.scatter([f.width for f in part], [1 + f.sharpness for f in part], s=6, color=f"C{k}", label=label)
        panel.set(yscale="log", xlabel="width, source pixels", ylabel="1 + sharpness", title=recipe)
        panel.legend(fontsize="small")
    figure.suptitle(title)
    figure.savefig(file, dpi=110, metadata={"Software": None})


def _finish(figure: Figure, panel: Axes, title: str, file: Path) -> None:
    """Adds the legend of a panel and the title, and writes the figure."""
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    figure.suptitle(title)
    figure.savefig(file, dpi=110, metadata={"Software": None})


def _figure(count: int) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels, three in a row."""
    down = math.ceil(count / _ACROSS)
    figure = Figure(figsize=(_ACROSS * _PANEL[0], down * _PANEL[1] + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(down, _ACROSS, squeeze=False).ravel())
    for panel in panels[count:]:
        panel.set_visible(False)
    return figure, panels[:count]
