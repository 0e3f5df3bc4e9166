"""What is evaluated on: named sets of aligned faces with their ground truth.

A benchmark is data only: it knows no recipe, no method and no metric. To add one, write a function
that returns a `Benchmark` and enter it in `run.OPENERS`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import cv2

from likeness.data.faces import FaceRecord, read_face, read_manifest, split_records
from likeness.errors import ConfigError, DataError
from likeness.types import Pixels

T = TypeVar("T")


@dataclass(frozen=True)
class View:
    """One table: which faces, measured at which size.

    Attributes:
        name: for the table's title and the CSV.
        size: 256 or 512.
        group: only the faces of this group; all if None.
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
        truth_512: (512, 512, 3) uint8, or None where the source has no such detail.
    """

    name: str
    group: str
    truth_256: Pixels
    truth_512: Pixels | None = None


@dataclass(frozen=True)
class Benchmark:
    """A named, ordered set of faces, read one at a time.

    Attributes:
        name: as in the configuration.
        names: of the samples, in order.
        load: position to sample.
        views: the tables.
        data_hash: SHA-256 over names and file contents.
        facts: what the provenance tells about the set.
    """

    name: str
    names: Sequence[str]
    load: Callable[[int], Sample]
    views: Sequence[View]
    data_hash: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)


def spread(items: Sequence[T], limit: int | None) -> list[T]:
    """At most `limit` items, evenly spread over the sequence, so that a short run sees every group.

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


def shrink_half(pixels: Pixels) -> Pixels:
    """Mean over 2 x 2 pixels of HWC uint8."""
    height, width = pixels.shape[:2]
    return cv2.resize(pixels, (width // 2, height // 2), interpolation=cv2.INTER_AREA)


def open_faces(root: Path | None, limit: int | None = None) -> Benchmark:
    """The validation faces of an aligned set with a manifest.

    At 512 only faces whose crop covers enough source pixels, real and synthetic apart; at 256 all.

    Args:
        root: folder with `manifest.csv`.
        limit: at most so many, spread over the set.

    Raises:
        DataError: if there is no such set, or it has no validation faces.
    """
    if root is None:
        raise DataError("faces: no folder given; set LIKENESS_DATA, or data.root=DIR with DIR/faces/manifest.csv")
    records = spread(sorted(split_records(read_manifest(root), "val"), key=lambda r: r.file), limit)
    if not records:
        raise DataError(f"faces: {root}/manifest.csv has no row with split val; make it again with the prepare task")
    names = [r.file for r in records]
    files = [root / n for n in names]
    for file in files:
        if not file.is_file():
            raise DataError(f"faces: {file} is in the manifest but not there; fetch it again or drop its row")

    def load(index: int) -> Sample:
        record = records[index]
        if record.size < 512:
            return Sample(record.file, "other", read_face(root, record, 256))
        pixels = read_face(root, record, 512)
        return Sample(record.file, face_group(record), shrink_half(pixels), pixels if record.sharp else None)

    views = (View("real, 512", 512, "real"), View("synthetic, 512", 512, "synthetic"), View("all, 256", 256))
    groups = [face_group(r) for r in records]
    facts = {f"faces ({g})": groups.count(g) for g in ("real", "synthetic", "other")}
    return Benchmark("faces", names, load, views, content_hash(files, names), facts)


def face_group(record: FaceRecord) -> str:
    """ "real" or "synthetic" where the face can serve as truth at 512, else "other"."""
    return record.kind if record.sharp else "other"
