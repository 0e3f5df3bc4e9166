"""A benchmark: a named, ordered set of aligned faces with their ground truth.

A benchmark is data only: it knows no recipe, no method and no metric.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from likeness.errors import ConfigError
from likeness.ops.geometry import EYE_DISTANCE_256, Matrix
from likeness.types import Pixels

T = TypeVar("T")

CROP, LARGE = 256, 512  # edges in pixels of the crops that are measured


@dataclass(frozen=True)
class View:
    """One table: which faces, measured at which size.

    Attributes:
        name: for the table's title and the CSV.
        size: 256 or 512.
        group: only the faces of this group; None = all.
    """

    name: str
    size: int
    group: str | None = None


@dataclass(frozen=True)
class Sample:
    """One face.

    Attributes:
        name: unique and stable; its degradation is drawn from it.
        group: what `View.group` selects.
        truth_256: (256, 256, 3) uint8.
        truth_512: (512, 512, 3) uint8; None where the source has no such detail, or 512 is not measured.
        width: face width in the source's pixels, which the router reads.
        photo: None: the crop itself is degraded; else the aligned face from which a photo of that width is made,
            degraded and cropped again, as in the pipeline.
        frame: None: methods are given crops; else the whole picture, which is degraded, restored by the pipeline with
            its own detection, and cropped by `matrix`.
        matrix: (2, 3) similarity, frame pixels to the 256 crop; only with `frame`.
        valid: (256, 256) bool, where the truth is one; None = everywhere.
    """

    name: str
    group: str
    truth_256: Pixels
    truth_512: Pixels | None = None
    width: float = 2 * EYE_DISTANCE_256
    photo: Pixels | None = None
    frame: Pixels | None = None
    matrix: Matrix | None = None
    valid: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Benchmark:
    """A named, ordered set of faces, read one at a time.

    Attributes:
        name: as in the configuration.
        names: of the samples, in order.
        load: position to sample.
        views: the tables.
        data_hash: SHA-256 over names and file contents.
        facts: what the provenance states about the set.
        whole_frames: methods are given whole frames.
    """

    name: str
    names: Sequence[str]
    load: Callable[[int], Sample]
    views: Sequence[View]
    data_hash: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    whole_frames: bool = False

    def __len__(self) -> int:
        return len(self.names)


def spread(items: Sequence[T], limit: int | None) -> list[T]:
    """At most `limit` items, evenly spread over the sequence, so that a short run covers every group.

    Raises:
        ConfigError: if `limit` is below 1.
    """
    if limit is None or limit >= len(items):
        return list(items)
    if limit < 1:
        raise ConfigError(f"limit: got {limit}, expected at least 1, or null for all")
    return [items[i * len(items) // limit] for i in range(limit)]


def content_hash(files: Sequence[Path], names: Sequence[str]) -> str:
    """SHA-256 over names and contents, in order."""
    digest = hashlib.sha256()
    for file, name in zip(files, names, strict=True):
        digest.update(name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
