"""Attributes of faces that a data set has few of: glasses, hats, children and the like.

They serve for sampling and for tables only; no network is told them.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from likeness.errors import ConfigError, DataError

ATTRIBUTES = ("glasses", "child", "old", "beard", "hat", "object", "three_quarter")


def read_attributes(file: Path | str) -> dict[str, frozenset[str]]:
    """Attributes by face, from a CSV with the columns `file` and `attributes` (names with blanks between).

    Faces that have none may be left out. Faces that were judged for some attributes only (column `judged`) are left
    out here: what else they have is not known.

    Raises:
        DataError: if the file cannot be read, lacks a column or names an attribute that is not in `ATTRIBUTES`.
    """
    try:
        with Path(file).open(newline="") as handle:
            rows = list(csv.DictReader(handle))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"attributes: {file} cannot be read ({error}); make it with `python -m likeness.tasks.labels`"
        ) from error
    if not rows or not {"file", "attributes"} <= rows[0].keys():
        raise DataError(f"attributes: {file} has no rows or lacks a column; expected file, attributes")
    found = {row["file"]: frozenset((row["attributes"] or "").split()) for row in rows if not row.get("judged")}
    unknown = sorted(set().union(*found.values()) - set(ATTRIBUTES))
    if unknown:
        raise DataError(f"attributes: {file} names {', '.join(unknown)}; expected some of {', '.join(ATTRIBUTES)}")
    return found


def rarity(files: Sequence[str], attributes: Mapping[str, frozenset[str]], factors: Mapping[str, float]) -> list[float]:
    """How much more often each face is drawn: the largest factor among its attributes, 1 without any.

    Raises:
        ConfigError: if a factor is below 1, or its attribute is unknown.
    """
    if set(factors) - set(ATTRIBUTES) or any(factor < 1 for factor in factors.values()):
        raise ConfigError(f"data.rare: got {dict(factors)}, expected factors from 1 up for {', '.join(ATTRIBUTES)}")
    none: frozenset[str] = frozenset()
    return [max([1.0, *(factors.get(name, 1.0) for name in attributes.get(file, none))]) for file in files]
