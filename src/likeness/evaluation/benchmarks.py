"""What is evaluated on: named sets of aligned faces with their ground truth.

A benchmark is data only: it knows no recipe, no method and no metric. To add one, write a function
that returns a `Benchmark` and enter it in `run_faces.OPENERS` and `run.BENCHMARKS`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from likeness.data.faces import FaceRecord, read_face, read_manifest, split_records, valid_mask
from likeness.errors import ConfigError, DataError
from likeness.ops.geometry import EYE_DISTANCE_256, Matrix
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
        truth_512: (512, 512, 3) uint8, or None where the source has no such detail, or 512 is not measured.
        width: face width in the source's pixels, which the router sees.
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
        facts: what the provenance tells about the set.
        whole: methods are given whole frames.
    """

    name: str
    names: Sequence[str]
    load: Callable[[int], Sample]
    views: Sequence[View]
    data_hash: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    whole: bool = False

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


WIDTH = " w "  # between a face's name and the width that it was photographed at


def open_faces(root: Path | None, limit: int | None = None) -> Benchmark:
    """The validation faces of an aligned set with a manifest.

    At 512 only faces whose crop covers enough source pixels, real and synthetic apart; at 256 all.

    Args:
        root: folder with `manifest.csv`.
        limit: at most so many, spread over the set.

    Raises:
        DataError: if there is no such set, or it has no validation faces.
    """
    folder, records = _validation(root, limit)
    names = [r.file for r in records]

    def load(index: int) -> Sample:
        record = records[index]
        if record.size < 512:
            return Sample(record.file, "other", read_face(folder, record, 256), valid=valid_of(record))
        pixels = read_face(folder, record, 512)
        large = pixels if record.sharp else None
        return Sample(record.file, face_group(record), shrink_half(pixels), large, valid=valid_of(record))

    views = (View("real, 512", 512, "real"), View("synthetic, 512", 512, "synthetic"), View("all, 256", 256))
    groups = [face_group(r) for r in records]
    facts = {f"faces ({g})": groups.count(g) for g in ("real", "synthetic", "other")}
    return Benchmark("faces", names, load, views, content_hash([folder / n for n in names], names), facts)


def open_widths(root: Path | None, widths: Sequence[float], limit: int | None = None) -> Benchmark:
    """The real validation faces that are sharp at 512, as photos of faces of these widths; measured at 256.

    Args:
        root: folder with `manifest.csv`.
        widths: in pixels of the photo.
        limit: at most so many faces, spread over the set; each comes at every width.

    Raises:
        ConfigError: if no width is given.
        DataError: as `open_faces`.
    """
    if not widths or min(widths) <= 0:
        raise ConfigError(f"benchmark.widths: got {list(widths)}, expected pixels such as [60, 80, 110, 140]")
    folder, every = _validation(root, None)
    records = spread([r for r in every if face_group(r) == "real"], limit)
    names = [f"{r.file}{WIDTH}{w:g}" for r in records for w in widths]

    def load(index: int) -> Sample:
        record, width = records[index // len(widths)], float(widths[index % len(widths)])
        pixels = read_face(folder, record, 512)
        return Sample(names[index], f"w {width:g}", shrink_half(pixels), None, width, pixels, valid=valid_of(record))

    views = (*(View(f"w {w:g}, 256", 256, f"w {w:g}") for w in widths), View("all widths, 256", 256))
    hashed = content_hash([folder / r.file for r in records], [r.file for r in records])
    return Benchmark("faces", names, load, views, hashed, {"faces (real)": len(records), "widths": list(widths)})


SAME_GROUP = {"caucasian": "white", "hispanic": "latino"}  # two sources' words for one
FEW = 20  # validation faces below which a group is joined by faces that were calibrated on


def open_groups(root: Path | None, limit: int | None = None) -> Benchmark:
    """Held-out faces by the groups that the manifest names, real and synthetic apart, at 256.

    Args:
        root: folder with `manifest.csv`.
        limit: at most so many faces of each group.

    Raises:
        DataError: as `open_faces`, or if no face of the set has a group.
    """
    folder, every = _validation(root, None)
    groups: dict[str, list[FaceRecord]] = {}
    for record in every:
        if name := people(record):
            groups.setdefault(name, []).append(record)
    if not groups:
        raise DataError(f"fairness: no validation face in {folder}/manifest.csv has a group; expected sex_ethnicity")
    joined = []
    for record in sorted(split_records(read_manifest(folder), "calib"), key=lambda r: r.file):
        name = people(record)
        if name in groups and sum(r.split == "val" for r in groups[name]) < FEW:
            groups[name].append(record)
            joined.append(record)
    chosen = [(name, r) for name in sorted(groups) for r in spread(groups[name], limit)]
    names = [record.file for _, record in chosen]

    def load(index: int) -> Sample:
        name, record = chosen[index]
        return Sample(record.file, name, shrink_half(read_face(folder, record, 512)), valid=valid_of(record))

    views = [View(f"{name}, 256", 256, name) for name in sorted(groups)]
    told = {"faces": len(names), "of them calibrated on": sum(r in joined for _, r in chosen)}
    return Benchmark("fairness", names, load, views, content_hash([folder / n for n in names], names), told)


def people(record: FaceRecord) -> str:
    """Kind and group of a face in one word for each thing, as "real female_latino"; empty where no group is said."""
    if not record.group:
        return ""
    sex, _, origin = record.group.partition("_")
    return f"{record.kind} {sex}_{SAME_GROUP.get(origin, origin)}"


def _validation(root: Path | None, limit: int | None) -> tuple[Path, list[FaceRecord]]:
    if root is None:
        raise DataError("faces: no folder given; set LIKENESS_DATA, or data.root=DIR with DIR/faces/manifest.csv")
    records = spread(sorted(split_records(read_manifest(root), "val"), key=lambda r: r.file), limit)
    if not records:
        raise DataError(f"faces: {root}/manifest.csv has no row with split val; make it again with the prepare task")
    for file in (root / r.file for r in records):
        if not file.is_file():
            raise DataError(f"faces: {file} is in the manifest but not there; fetch it again or drop its row")
    return root, records


def valid_of(record: FaceRecord) -> npt.NDArray[np.bool_] | None:
    """(256, 256) bool, where a face is a truth; None = everywhere."""
    return None if record.valid_box is None else valid_mask(record.valid_box, record.size, 256)


def face_group(record: FaceRecord) -> str:
    """ "real" or "synthetic" where the face can serve as truth at 512, else "other"."""
    return record.kind if record.sharp else "other"
