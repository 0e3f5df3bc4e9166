"""The result of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from likeness.evaluation.report.summary import Row
from likeness.evaluation.scores import Scores


@dataclass(frozen=True)
class Results:
    """The figures of an evaluation and the folder that they were written to.

    Attributes:
        rows: means, intervals, differences.
        scores: figures per image, or per clip.
        provenance: command, commit, data, weights, versions, machine.
        folder: of the tables.
    """

    rows: list[Row]
    scores: Scores
    provenance: Mapping[str, Any]
    folder: Path
