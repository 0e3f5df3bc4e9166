"""From figures per image to rows: means with intervals and paired differences against the input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from likeness.evaluation.benchmarks.base import View
from likeness.evaluation.methods.base import INPUT
from likeness.evaluation.report import statistics
from likeness.evaluation.report.metrics import FRECHET, KERNEL, LATTICE, PER_IMAGE, SPECKS, STREAKS
from likeness.evaluation.report.statistics import Array, Interval
from likeness.evaluation.scores import TRUTH, Run, Scores
from likeness.metrics.feature_sets import frechet_distance, kernel_distance
from likeness.metrics.lattice import lattice


@dataclass(frozen=True)
class Row:
    """One figure of one method.

    Attributes:
        view, size, recipe, method, metric: what it is of.
        figure: mean over images (for `lattice` the figure of the mean spectrum, for `specks` and `streaks` the mean
            over the truths' mean; distances of sets have no interval).
        difference: paired, against the row `base` (the input); None for itself and where it was not run.
        percent: the same in percent of its mean; None for figures of sets.
    """

    view: str
    size: int
    recipe: str
    method: str
    metric: str
    figure: Interval
    difference: Interval | None = None
    percent: Interval | None = None


def summarise(scores: Scores, views: Sequence[View], seed: int = 0, base: str = INPUT) -> list[Row]:
    """All rows, per view, recipe, method and metric; first the truth's, which has a `lattice` only.

    A view without images gives no rows. Differences are to the row `base`.
    """
    rows: list[Row] = []
    for view in views:
        chosen = scores.select(view)
        if not chosen.any():
            continue
        spectra = scores.vectors.get("power", {}).get(Run("", TRUTH, view.size))
        truth = None if spectra is None else statistics.bootstrap(_lattice, spectra[chosen], seed=seed)
        for recipe in dict.fromkeys(run.recipe for run in scores.values):
            if truth is not None:
                rows.append(Row(view.name, view.size, recipe, TRUTH, LATTICE.name, truth))
            for run in scores.values:
                if (run.recipe, run.size) == (recipe, view.size):
                    rows += _rows(scores, view, run, chosen, seed, base)
    return rows


def _rows(scores: Scores, view: View, run: Run, chosen: np.ndarray, seed: int, method: str) -> list[Row]:
    head = (view.name, run.size, run.recipe, run.method)
    base = run._replace(method=method)
    compared = run.method != method and base in scores.values
    rows = []
    for metric in (m.name for m in PER_IMAGE if m.name in scores.values[run]):
        values = scores.values[run][metric][chosen]
        row = Row(*head, metric, statistics.mean(values, seed))
        if compared and metric in scores.values[base]:
            other = scores.values[base][metric][chosen]
            pair = statistics.difference(values, other, seed), statistics.percent(values, other, seed)
            row = Row(*head, metric, row.figure, *pair)
        rows.append(row)
    spectra = scores.vectors.get("power", {})
    if run not in spectra:
        return rows
    power = spectra[run][chosen]
    figure, change = statistics.bootstrap(_lattice, power, seed=seed), None
    if compared:
        change = statistics.bootstrap(_lattice_difference, power, spectra[base][chosen], seed=seed)
    rows.append(Row(*head, LATTICE.name, figure, change))
    rows += _skin_rows(scores, run, base if compared else None, head, chosen, seed)
    embeddings = scores.vectors.get("embedding", {})
    if run in embeddings:
        ours, truth = embeddings[run][chosen], embeddings[Run("", TRUTH, run.size)][chosen]
        if len(ours) > ours.shape[1]:  # of fewer, the covariance is singular
            for info, distance in ((FRECHET, frechet_distance), (KERNEL, kernel_distance)):
                value = distance(ours, truth)
                rows.append(Row(*head, info.name, Interval(value, np.nan, np.nan, len(ours))))
    return rows


def _skin_rows(
    scores: Scores, run: Run, base: Run | None, head: tuple[str, int, str, str], chosen: np.ndarray, seed: int
) -> list[Row]:
    """Specks and streaks over the truths', where they were measured and the truths have any."""
    skin = scores.vectors.get("skin", {})
    if run not in skin:
        return []
    ours, truth = (skin[r][chosen] for r in (run, Run("", TRUTH, run.size)))
    rows = []
    for i, info in enumerate((SPECKS, STREAKS)):
        if not np.nansum(truth[:, i]):
            continue
        figure, change = statistics.bootstrap(_over, ours[:, i], truth[:, i], seed=seed), None
        if base:
            change = statistics.bootstrap(_over, (ours - skin[base][chosen])[:, i], truth[:, i], seed=seed)
        rows.append(Row(*head, info.name, figure, change))
    return rows


def _over(a: Array, b: Array) -> Array:
    return a / b


def _lattice(power: Array) -> Array:
    return lattice(torch.from_numpy(np.ascontiguousarray(power))).numpy()


def _lattice_difference(a: Array, b: Array) -> Array:
    return _lattice(a) - _lattice(b)
