"""Rows as CSV, Markdown and JSON under their provenance.

The same command on the same machine gives the same bytes; timings stand in a file of their own.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from likeness.evaluation.methods.base import INPUT
from likeness.evaluation.report.metrics import COLUMNS, PER_IMAGE, MetricInfo
from likeness.evaluation.report.statistics import Interval
from likeness.evaluation.report.summary import Row
from likeness.evaluation.scores import Scores


def to_csv(rows: Sequence[Row], provenance: Mapping[str, Any]) -> str:
    """Long form, one figure a line, after comment lines (#) with the provenance; empty means not there."""
    lines = [
        {
            **{key: getattr(r, key) for key in ("view", "size", "recipe", "method", "metric")},
            "images": r.figure.n,
            "missing": r.figure.missing,
            **_cells("value", r.figure),
            **_cells("difference", r.difference),
            **_cells("percent", r.percent),
        }
        for r in rows
    ]
    return as_csv(lines, provenance)


def images_csv(scores: Scores, provenance: Mapping[str, Any]) -> str:
    """One line for each image, size, recipe and method."""
    known = {metric for table in scores.values.values() for metric in table}
    columns = [m for m in PER_IMAGE if m.name in known]
    lines = [
        {
            "image": scores.names[i],
            "group": scores.groups[i],
            **run._asdict(),
            **{m.name: figure(table[m.name][i]) if m.name in table else "" for m in columns},
        }
        for run, table in scores.values.items()
        for i in np.flatnonzero(scores.sizes[run.size]).tolist()
    ]
    return as_csv(lines, provenance)


def timing_csv(scores: Scores, provenance: Mapping[str, Any]) -> str:
    """Milliseconds a face of every method, measuring not included."""
    faces = len(scores.names)
    lines = [
        {"recipe": recipe, "method": method, "faces": faces, "ms_per_face": f"{1000 * seconds / faces:.2f}"}
        for (recipe, method), seconds in scores.seconds.items()
    ]
    return as_csv(lines, provenance)


def to_json(rows: Sequence[Row], provenance: Mapping[str, Any]) -> str:
    """Rows and provenance; infinite and missing numbers as the strings "inf" and "nan"."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        return str(value) if isinstance(value, float) and not math.isfinite(value) else value

    content = {"provenance": dict(provenance), "rows": [plain(asdict(r)) for r in rows]}
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def to_markdown(
    rows: Sequence[Row], provenance: Mapping[str, Any], title: str, notes: Sequence[str] = (), base: str = INPUT
) -> str:
    """Two tables per view and recipe: means with intervals, and paired differences against the row `base`."""
    head = [f"# {title}\n\nMean [95 % bootstrap interval over images].\n", *(f"{note}\n" for note in notes)]
    return "\n".join([*head, tables_of(rows, base), provenance_section(provenance)])


def tables_of(rows: Sequence[Row], base: str = INPUT) -> str:
    """The tables of `to_markdown` alone."""
    parts = []
    for view, recipe in dict.fromkeys((r.view, r.recipe) for r in rows):
        here = [r for r in rows if (r.view, r.recipe) == (view, recipe)]
        images = max(r.figure.n + r.figure.missing for r in here)
        parts.append(f"## {view}, recipe `{recipe}`, {images} images\n\n{_table(here, _mean)}")
        if changed := [r for r in here if r.difference]:
            parts.append(f"Against `{base}`, paired:\n\n{_table(changed, _change)}")
    return "\n".join(parts)


def provenance_section(provenance: Mapping[str, Any]) -> str:
    """The provenance as the last section of a Markdown page."""
    return "## Provenance\n\n" + "".join(f"- {key}: {_plain(value)}\n" for key, value in provenance.items())


def _table(rows: Sequence[Row], cell: Callable[[Row, MetricInfo], str]) -> str:
    measured = {r.metric for r in rows}
    columns = [m for m in COLUMNS if m.name in measured]
    cells = {(r.method, m.name): cell(r, m) for r in rows for m in columns if m.name == r.metric}
    lines = [
        ["method", *(f"{m.label} {m.better}" for m in columns)],
        ["---"] * (len(columns) + 1),
        *([name, *(cells.get((name, m.name), "-") for m in columns)] for name in dict.fromkeys(r.method for r in rows)),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _mean(row: Row, info: MetricInfo) -> str:
    missing = f" ({row.figure.missing} missing)" if row.figure.missing else ""
    return interval_text(row.figure, f".{info.digits}f") + missing


def _change(row: Row, info: MetricInfo) -> str:
    if info.change == "percent":
        return interval_text(row.percent, "+.1f", " %")
    return interval_text(row.difference, f"+.{info.digits}f")


def interval_text(interval: Interval | None, form: str, unit: str = "") -> str:
    """A figure and its interval, as "0.50 [0.25, 0.75]", in a format such as ".2f"; "-" where it was not measured."""
    if interval is None or math.isnan(interval.value):
        return "-"
    text = f"{interval.value:{form}}{unit}"
    return (
        f"{text} [{interval.low:{form}}, {interval.high:{form}}]"
        if math.isfinite(interval.value) and math.isfinite(interval.low)
        else text
    )


def _cells(prefix: str, interval: Interval | None) -> dict[str, str]:
    names = (prefix, f"{prefix}_low", f"{prefix}_high")
    values = (interval.value, interval.low, interval.high) if interval else (math.nan,) * 3
    return {name: figure(value) for name, value in zip(names, values, strict=True)}


def figure(value: float) -> str:
    """Six digits; empty where nothing was measured."""
    return "" if math.isnan(value) else f"{value:.6g}"


def as_csv(lines: Sequence[Mapping[str, Any]], provenance: Mapping[str, Any]) -> str:
    """Lines with the same keys, after comment lines (#) with the provenance."""
    text = io.StringIO()
    text.writelines(f"# {key}: {_plain(value)}\n" for key, value in provenance.items())
    if lines:
        writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    return text.getvalue()


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{k} {_plain(v)}" for k, v in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value)
