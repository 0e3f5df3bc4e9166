"""Blind pairs: who is on which side, what was said of each pair, and how often B was preferred."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from likeness.errors import InputError
from likeness.evaluation.statistics import wilson

VERDICTS = ("left", "right", "equal")


class Pair(NamedTuple):
    """One line of the key.

    Attributes:
        number: of the picture, from 1.
        name: of the file, without its suffix.
        left: "a" or "b".
        kind: empty where there is none.
    """

    number: int
    name: str
    left: str
    kind: str


class Count(NamedTuple):
    """How often A was better, B was better, and neither."""

    a: int
    b: int
    equal: int


def pairs_of(names: Sequence[str], kinds: Mapping[str, str], seed: int) -> list[Pair]:
    """Numbers the names in a random order; A is on the left of every second one at random, of half of them in all."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(names))
    sides = rng.permutation(np.arange(len(names)) % 2)
    return [
        Pair(k + 1, names[i], "ab"[side], kinds.get(names[i], ""))
        for k, (i, side) in enumerate(zip(order, sides, strict=True))
    ]


def counts(pairs: Sequence[Pair], verdicts: Mapping[int, str]) -> dict[str, Count]:
    """Counts of all pairs, then by kind, where there are kinds."""
    kinds = sorted({p.kind for p in pairs if p.kind})
    parts = {"all pairs": list(pairs)} | {kind: [p for p in pairs if p.kind == kind] for kind in kinds}
    return {name: _count(part, verdicts) for name, part in parts.items()}


def _count(pairs: Sequence[Pair], verdicts: Mapping[int, str]) -> Count:
    decided = [p for p in pairs if verdicts[p.number] != "equal"]
    a = sum((p.left == "a") == (verdicts[p.number] == "left") for p in decided)
    return Count(a, len(decided) - a, len(pairs) - len(decided))


def table(found: Mapping[str, Count]) -> list[str]:
    """Markdown, a row for each kind; the interval is Wilson's at 95 %."""
    lines = ["| kind | pairs | A better | B better | equal | B among the decided |", "|---|---|---|---|---|---|"]
    for kind, count in found.items():
        rate = wilson(count.b, count.a + count.b)
        shown = f"{100 * rate.value:.1f} % [{100 * rate.low:.1f}, {100 * rate.high:.1f}]" if rate.n else "none decided"
        lines.append(f"| {kind} | {sum(count)} | {count.a} | {count.b} | {count.equal} | {shown} |")
    return lines


def read_key(path: Path) -> list[Pair]:
    """The pairs of a key.

    Raises:
        InputError: if it is missing, lacks a column, or has a number twice or another side than a or b.
    """
    pairs = []
    for row in read_rows(path, ("number", "left")):
        if row["left"] not in ("a", "b"):
            raise InputError(f"{path}: number {row['number']} has left={row['left']!r}, expected a or b")
        pairs.append(Pair(_number(path, row), row.get("name") or "", row["left"], row.get("kind") or ""))
    _once(path, [p.number for p in pairs])
    return pairs


def read_verdicts(path: Path, pairs: Sequence[Pair]) -> dict[int, str]:
    """The verdict of each number of the key.

    Raises:
        InputError: if the file is missing or lacks a column, for an unknown verdict, and for a number that is missing,
            there twice, or not in the key.
    """
    rows = [(_number(path, row), row["verdict"].strip().lower()) for row in read_rows(path, ("number", "verdict"))]
    _once(path, [number for number, _ in rows])
    expected = {p.number for p in pairs}
    for number, verdict in rows:
        if number not in expected:
            raise InputError(f"{path}: number {number} is not in the key; give the key that was written with it")
        if verdict not in VERDICTS:
            raise InputError(f"{path}: number {number} has the verdict {verdict!r}, expected {', '.join(VERDICTS)}")
    if missing := sorted(expected - {number for number, _ in rows}):
        raise InputError(f"{path}: no verdict for number {some(missing)}; every pair needs one")
    return dict(rows)


def read_rows(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """The lines of a CSV file, by column.

    Raises:
        InputError: if it cannot be read, is empty, or lacks one of the columns `needed`.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            rows = list(csv.DictReader(handle))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if not rows:
        raise InputError(f"{path}: has no line, expected the columns {', '.join(needed)} and a line for each")
    for number, row in enumerate(rows, 2):
        if missing := [name for name in needed if row.get(name) is None]:
            raise InputError(
                f"{path}: line {number} has no {', '.join(missing)}; expected the columns {', '.join(needed)}"
            )
    return rows


def _number(path: Path, row: Mapping[str, str]) -> int:
    try:
        return int(row["number"])
    except ValueError:
        raise InputError(f"{path}: got the number {row['number']!r}, expected a whole one") from None


def _once(path: Path, numbers: Sequence[int]) -> None:
    if twice := sorted({n for n in numbers if numbers.count(n) > 1}):
        raise InputError(f"{path}: number {some(twice)} is there twice; every pair has one line")


def some(values: Sequence[object]) -> str:
    """At most five of them for a message, and how many more there are."""
    return ", ".join(map(str, values[:5])) + (f" and {len(values) - 5} more" if len(values) > 5 else "")
