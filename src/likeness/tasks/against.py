"""Rows of a table against any other row, paired by image: `python -m likeness.tasks.against images=FILE base=expert_f`.

Reads the figures per image that evaluate.py wrote (`images.csv`), so nothing is restored or measured again.
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
from likeness.evaluation import provenance
from likeness.evaluation.benchmarks import WIDTH
from likeness.evaluation.measures import PER_IMAGE
from likeness.evaluation.statistics import difference, mean, percent
from likeness.evaluation.summary import Row
from likeness.evaluation.tables import tables_of
from likeness.tasks import arguments
from likeness.weights.files import file_hash

_HEAD = ("image", "group", "recipe", "method", "size")
FEWEST = 20  # faces with an attribute that make a table


@dataclass
class AgainstOptions:
    """Options of the command.

    Attributes:
        images: `images.csv` files of evaluate.py.
        base: the row that the others are compared with.
        methods: these rows alone; empty = all.
        dst: the Markdown file to write; empty = none, the tables are printed only.
        seed: of the bootstrap.
        pooled: average each face over recipes and widths first, so that a table says what a choice costs overall; the
            intervals are then over faces.
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
        DataError: if it is none.
    """
    try:
        with path.open(newline="") as file:
            lines = list(csv.DictReader(line for line in file if not line.startswith("#")))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"images: cannot read {path} ({error}); give an images.csv that evaluate.py wrote") from error
    if not lines or any(name not in lines[0] for name in _HEAD):
        raise DataError(f"images: {path} has no columns {', '.join(_HEAD)}; give an images.csv that evaluate.py wrote")
    return lines


def pool(lines: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """One line a face, method and size: means over the recipes, and over the widths that `benchmark.widths` made of it.

    A figure that is missing in one of them is missing in the mean.
    """
    recipes = " + ".join(dict.fromkeys(line["recipe"] for line in lines))
    found: dict[tuple[str, str, str], list[Mapping[str, str]]] = {}
    for line in lines:
        found.setdefault((line["image"].partition(WIDTH)[0], line["method"], line["size"]), []).append(line)
    metrics = [m.name for m in PER_IMAGE if m.name in lines[0]]
    pooled = []
    for (image, method, size), parts in found.items():
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
    labelled = [line for line in lines if line["image"].partition(WIDTH)[0] in attributes]
    if not labelled:
        raise DataError("attributes: none of the images is labelled; give labels of the faces that were evaluated")
    found: dict[str, list[dict[str, str]]] = {}
    for line in labelled:
        face = line["image"].partition(WIDTH)[0]
        for name in attributes[face] or ("none",):
            found.setdefault(name, []).append({**line, "group": name})
    faces = {name: {line["image"].partition(WIDTH)[0] for line in group} for name, group in found.items()}
    kept = [name for name in (*ATTRIBUTES, "none") if len(faces.get(name, ())) >= FEWEST]
    if not kept:
        raise DataError(f"attributes: no attribute is had by {FEWEST} of the faces; evaluate more faces")
    return [line for name in kept for line in found[name]]


def compare(
    lines: Sequence[Mapping[str, str]], base: str, methods: Sequence[str] = (), seed: int = 0, title: str = ""
) -> list[Row]:
    """Means and paired differences by size and recipe: of all images, and of each group where there are several.

    Views are called by group and size, after `title`: those of two files must not share a name.

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
        here = [line for line in lines if (line["size"], line["recipe"]) == (size, recipe)]
        groups = list(dict.fromkeys(line["group"] for line in here))
        for view in ["all", *(groups if len(groups) > 1 else [])]:
            taken = [line for line in here if view in ("all", line["group"])]
            for method in (base, *chosen):
                head = (f"{title}{view}, {size}", int(size), recipe, method)
                rows += [
                    _row(head, metric, taken, base, seed)
                    for metric in metrics
                    if any(line[metric] for line in taken if line["method"] == method)
                ]
    return rows


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


def run(options: AgainstOptions) -> None:
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
        provenance.write_markdown(Path(options.dst), f"Against {options.base}", [text], facts)
    print(text)


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(AgainstOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
