"""Compares rows of a table with any other row, paired by image.

`python experiments/evaluation/compare_methods.py images=[FILE] base=expert_f` reads the figures per image that
evaluate.py wrote (`images.csv`), so nothing is restored or measured again. These files are too large for the
repository; the `command` of the table beside them makes them.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from omegaconf import MISSING

from likeness.data.attributes import ATTRIBUTES, read_attributes
from likeness.errors import DataError
from likeness.evaluation.benchmarks.faces import WIDTH
from likeness.evaluation.report.metrics import PER_IMAGE
from likeness.evaluation.report.provenance import write_markdown
from likeness.evaluation.report.statistics import difference, mean, percent
from likeness.evaluation.report.summary import Row
from likeness.evaluation.report.tables import tables_of
from likeness.tasks import arguments
from likeness.weights.files import file_hash

FEWEST = 20  # faces with an attribute that make a table
_HEAD = ("image", "group", "recipe", "method", "size")


@dataclass
class CompareMethodsOptions:
    """Options of the command.

    Attributes:
        images: `images.csv` files of evaluate.py.
        base: the row that the others are compared with.
        methods: these rows alone; empty = all.
        dst: the Markdown file to write; empty = the tables are only printed.
        seed: of the bootstrap.
        pooled: average each face over recipes and widths first, so that a table states the overall cost of a choice;
            the intervals are then over faces.
        attributes: CSV of labels (`experiments/labels/by_eye.csv`): a table for each attribute that at least `FEWEST`
            faces have, and one of the faces that have none; empty = none of these.
    """

    images: list[str] = field(default_factory=list)
    base: str = MISSING
    methods: list[str] = field(default_factory=list)
    dst: str = ""
    seed: int = 0
    pooled: bool = False
    attributes: str = ""


def read_images(path: Path) -> list[dict[str, str]]:
    """The lines of an `images.csv`.

    Raises:
        DataError: if the file is missing or of another kind.
    """
    try:
        with path.open(newline="") as file:
            lines = list(csv.DictReader(line for line in file if not line.startswith("#")))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"images: cannot read {path} ({error}); evaluate.py writes images.csv") from error
    if not lines or any(name not in lines[0] for name in _HEAD):
        raise DataError(f"images: {path} has no columns {', '.join(_HEAD)}; give an images.csv of evaluate.py")
    return lines


def pool(lines: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """One line a face, method and size: means over the recipes, and over the widths of `benchmark.widths`.

    A figure that is missing in one of them is missing in the mean.
    """
    recipes = " + ".join(dict.fromkeys(line["recipe"] for line in lines))
    groups: dict[tuple[str, str, str], list[Mapping[str, str]]] = {}
    for line in lines:
        groups.setdefault((_face(line), line["method"], line["size"]), []).append(line)
    metrics = [m.name for m in PER_IMAGE if m.name in lines[0]]
    pooled = []
    for (image, method, size), parts in groups.items():
        means = {m: float(np.mean([float(part[m] or "nan") for part in parts])) for m in metrics}
        values = {m: "" if np.isnan(v) else repr(v) for m, v in means.items()}
        pooled.append({"image": image, "group": "all", "recipe": recipes, "method": method, "size": size, **values})
    return pooled


def by_attribute(lines: Sequence[Mapping[str, str]], attributes: Mapping[str, frozenset[str]]) -> list[dict[str, str]]:
    """The lines of labelled faces, once for each attribute of theirs, which becomes their group; "none" without any.

    Attributes that fewer than `FEWEST` of the faces have are left out.

    Raises:
        DataError: if none of the faces is labelled, or too few for a table.
    """
    labelled = [line for line in lines if _face(line) in attributes]
    if not labelled:
        raise DataError("attributes: none of the images is labelled; give labels of the faces that were evaluated")
    groups: dict[str, list[dict[str, str]]] = {}
    for line in labelled:
        for name in attributes[_face(line)] or ("none",):
            groups.setdefault(name, []).append({**line, "group": name})
    faces = {name: {_face(line) for line in group} for name, group in groups.items()}
    large = [name for name in (*ATTRIBUTES, "none") if len(faces.get(name, ())) >= FEWEST]
    if not large:
        raise DataError(f"attributes: no attribute is had by {FEWEST} of the faces; evaluate more faces")
    return [line for name in large for line in groups[name]]


def compare(
    lines: Sequence[Mapping[str, str]], base: str, methods: Sequence[str] = (), seed: int = 0, title: str = ""
) -> list[Row]:
    """Means and paired differences by size and recipe: of all images, and of each group where there are several.

    Views are named by group and size, after `title`, so that those of two files differ.

    Raises:
        DataError: if a named row is not there.
    """
    known = list(dict.fromkeys(line["method"] for line in lines))
    if wrong := [name for name in (base, *methods) if name not in known]:
        raise DataError(f"base, methods: got {', '.join(wrong)}, expected rows of the file: {', '.join(known)}")
    chosen = [name for name in methods or known if name != base]
    metrics = [m.name for m in PER_IMAGE if m.name in lines[0]]
    rows: list[Row] = []
    for size, recipe in dict.fromkeys((line["size"], line["recipe"]) for line in lines):
        same = [line for line in lines if (line["size"], line["recipe"]) == (size, recipe)]
        groups = list(dict.fromkeys(line["group"] for line in same))
        for view in ["all", *(groups if len(groups) > 1 else [])]:
            shown = [line for line in same if view in ("all", line["group"])]
            for method in (base, *chosen):
                head = (f"{title}{view}, {size}", int(size), recipe, method)
                rows += [
                    _row(head, metric, shown, base, seed)
                    for metric in metrics
                    if any(line[metric] for line in shown if line["method"] == method)
                ]
    return rows


def run(options: CompareMethodsOptions) -> None:
    """Compares, prints and writes.

    Raises:
        DataError: for a file that is no `images.csv`, and for rows that it does not have.
        OutputError: if `dst` cannot be written.
    """
    if not options.images:
        raise DataError("images: got none, expected images=[FILE] that evaluate.py wrote")
    rows: list[Row] = []
    for name in options.images:
        title = f"{name}: " if len(options.images) > 1 else ""
        lines = read_images(Path(name))
        lines = pool(lines) if options.pooled else lines
        if options.attributes:
            lines = by_attribute(lines, read_attributes(options.attributes))
        rows += compare(lines, options.base, options.methods, options.seed, title)
    text = tables_of(rows, options.base)
    if options.dst:
        facts = {"files sha256": {name: file_hash(name) for name in options.images}}
        write_markdown(Path(options.dst), f"Against {options.base}", [text], facts)
    print(text)


def _face(line: Mapping[str, str]) -> str:
    """Name of the face, without the width that it was photographed at."""
    return line["image"].partition(WIDTH)[0]


def _row(head: tuple[str, int, str, str], metric: str, lines: Sequence[Mapping[str, str]], base: str, seed: int) -> Row:
    ours, theirs = (_column(lines, method, metric) for method in (head[3], base))
    images = list(ours)
    values = np.array([ours[i] for i in images])
    row = Row(*head, metric, mean(values, seed))
    if head[3] == base:
        return row
    others = np.array([theirs.get(i, np.nan) for i in images])
    return Row(*head, metric, row.figure, difference(values, others, seed), percent(values, others, seed))


def _column(lines: Sequence[Mapping[str, str]], method: str, metric: str) -> dict[str, float]:
    return {line["image"]: float(line[metric] or "nan") for line in lines if line["method"] == method}


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(CompareMethodsOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
