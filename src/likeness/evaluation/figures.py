"""Bar plots of the tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from likeness.evaluation.summary import Row
from likeness.evaluation.tables import COLUMNS

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
    down = math.ceil(len(metrics) / _ACROSS)
    figure = Figure(figsize=(_ACROSS * _PANEL[0], down * _PANEL[1] + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(down, _ACROSS, squeeze=False).ravel()
    for panel in panels[len(metrics) :]:
        panel.set_visible(False)
    width = 0.8 / len(methods)
    for panel, info in zip(panels, metrics, strict=False):
        for k, method in enumerate(methods):
            bars = {r.recipe: r.figure for r in rows if (r.metric, r.method) == (info.name, method)}
            found = {x: i for x, name in enumerate(recipes) if (i := bars.get(name)) and math.isfinite(i.value)}
            values = np.array([i.value for i in found.values()])
            # Where no interval was estimated, none is drawn.
            spread = np.abs(np.array([[i.low, i.high] for i in found.values()]).reshape(-1, 2).T - values)
            at = np.array(list(found), dtype=float) + (k - (len(methods) - 1) / 2) * width
            panel.bar(at, values, width, yerr=np.nan_to_num(spread), capsize=2, label=method, color=f"C{k}")
        panel.set_xticks(range(len(recipes)), recipes)
        panel.set_title(f"{info.label} {info.better}", fontsize="medium")
        panel.margins(y=0.15)
    handles, labels = panels[len(metrics) - 1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    figure.suptitle(title)
    figure.savefig(file, dpi=110, metadata={"Software": None})
