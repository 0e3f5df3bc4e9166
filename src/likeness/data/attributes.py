"""Attributes that are rare in data sets: glasses, hats, children and the like.

They serve sampling and tables only. No network reads them.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from likeness.errors import ConfigError, DataError

ATTRIBUTES = ("glasses", "child", "old", "beard", "hat", "object", "three_quarter")


def read_attributes(file: Path | str) -> dict[str, frozenset[str]]:
    """Reads the attributes of each face from a CSV with the columns `file` and `attributes`.

    The attributes of a face are separated by blanks. Faces without any may be left out. Faces that were judged for some
    attributes only (column `judged`) are skipped, since their other attributes are unknown.

    Raises:
        DataError: if the file cannot be read, lacks a column or names an attribute that is not in `ATTRIBUTES`.
    """
    try:
        with Path(file).open(newline="") as handle:
            rows = list(csv.DictReader(handle))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"attributes: {file} cannot be read ({error}); write it with experiments/labels/spread_labels.py"
        ) from error
    if not rows or not {"file", "attributes"} <= rows[0].keys():
        raise DataError(f"attributes: {file} has no rows or lacks a column; expected the columns file and attributes")
    attributes = {row["file"]: frozenset((row["attributes"] or "").split()) for row in rows if not row.get("judged")}
    unknown = sorted(set().union(*attributes.values()) - set(ATTRIBUTES))
    if unknown:
        raise DataError(f"attributes: {file} names {', '.join(unknown)}; expected some of {', '.join(ATTRIBUTES)}")
    return attributes


def face_weights(
    files: Sequence[str], attributes: Mapping[str, frozenset[str]], attribute_weights: Mapping[str, float]
) -> list[float]:
    """Sampling weight of each face: the largest weight among its attributes, 1 if it has none.

    Args:
        files: the faces.
        attributes: of each face; faces may be missing.
        attribute_weights: by attribute, 1 or more.

    Raises:
        ConfigError: if a weight is below 1 or its attribute is not in `ATTRIBUTES`.
    """
    if set(attribute_weights) - set(ATTRIBUTES) or any(weight < 1 for weight in attribute_weights.values()):
        raise ConfigError(
            f"data.attribute_weights: got {dict(attribute_weights)}, expected weights of 1 or more for some of "
            f"{', '.join(ATTRIBUTES)}"
        )
    none: frozenset[str] = frozenset()
    return [max([1.0, *(attribute_weights.get(name, 1.0) for name in attributes.get(f, none))]) for f in files]
