"""Held-out faces of an aligned set with a manifest: as crops, as photos of known widths, and by group."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from likeness.data.faces import FaceRecord, Split, read_face, read_manifest, split_records, valid_mask
from likeness.errors import ConfigError, DataError
from likeness.evaluation.benchmarks.base import CROP, LARGE, Benchmark, Sample, View, content_hash, spread
from likeness.ops.resize import resize
from likeness.paths import data_folder

WIDTH = " w "  # between a face's name and the width that it was photographed at
SAME_GROUP = {"caucasian": "white", "hispanic": "latino"}  # two sources' words for one
FEWEST = 20  # validation faces below which faces that were calibrated on join a group


def face_folder(root: str = "") -> Path:
    """The folder of aligned faces: `root`, or LIKENESS_DATA/faces where it is empty.

    Raises:
        DataError: if neither is given.
    """
    if root:
        return Path(root)
    data = data_folder()
    if data is None:
        raise DataError("no faces; give root=DIR (made by likeness.tasks.prepare) or set LIKENESS_DATA")
    return data / "faces"


def real_faces(root: Path, count: int = 0, split: Split = "val") -> list[FaceRecord]:
    """The real faces of a split, at most `count` at even steps; 0 = all.

    Raises:
        DataError: if there is none.
    """
    records = [r for r in split_records(read_manifest(root), split) if r.kind == "real"]
    if not records:
        raise DataError(f"{root}/manifest.csv has no real face in split {split}")
    return every_nth(records, count) if count else records


def every_nth(records: Sequence[FaceRecord], count: int) -> list[FaceRecord]:
    """At most `count` records, at even steps from the first."""
    return list(records[:: max(1, len(records) // count)][:count])


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
        if record.size < LARGE:
            return Sample(record.file, "other", read_face(folder, record, CROP), valid=_valid(record))
        pixels = read_face(folder, record, LARGE)
        large = pixels if record.sharp else None
        return Sample(record.file, _kind(record), resize(pixels, CROP, CROP), large, valid=_valid(record))

    views = (View("real, 512", LARGE, "real"), View("synthetic, 512", LARGE, "synthetic"), View("all, 256", CROP))
    kinds = [_kind(r) for r in records]
    facts = {f"faces ({kind})": kinds.count(kind) for kind in ("real", "synthetic", "other")}
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
    records = spread([r for r in every if _kind(r) == "real"], limit)
    names = [f"{r.file}{WIDTH}{w:g}" for r in records for w in widths]

    def load(index: int) -> Sample:
        record, width = records[index // len(widths)], float(widths[index % len(widths)])
        pixels = read_face(folder, record, LARGE)
        truth = resize(pixels, CROP, CROP)
        return Sample(names[index], f"w {width:g}", truth, None, width, pixels, valid=_valid(record))

    views = (*(View(f"w {w:g}, 256", CROP, f"w {w:g}") for w in widths), View("all widths, 256", CROP))
    digest = content_hash([folder / r.file for r in records], [r.file for r in records])
    return Benchmark("faces", names, load, views, digest, {"faces (real)": len(records), "widths": list(widths)})


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
        if name := group_name(record):
            groups.setdefault(name, []).append(record)
    if not groups:
        raise DataError(f"fairness: no validation face in {folder}/manifest.csv has a group; expected sex_ethnicity")
    calibrated_on = []
    for record in sorted(split_records(read_manifest(folder), "calib"), key=lambda r: r.file):
        name = group_name(record)
        if name in groups and sum(r.split == "val" for r in groups[name]) < FEWEST:
            groups[name].append(record)
            calibrated_on.append(record)
    chosen = [(name, r) for name in sorted(groups) for r in spread(groups[name], limit)]
    names = [record.file for _, record in chosen]

    def load(index: int) -> Sample:
        name, record = chosen[index]
        truth = resize(read_face(folder, record, LARGE), CROP, CROP)
        return Sample(record.file, name, truth, valid=_valid(record))

    views = [View(f"{name}, 256", CROP, name) for name in sorted(groups)]
    facts = {"faces": len(names), "of them calibrated on": sum(r in calibrated_on for _, r in chosen)}
    return Benchmark("fairness", names, load, views, content_hash([folder / n for n in names], names), facts)


def group_name(record: FaceRecord) -> str:
    """Kind and group of a face, as "real female_latino"; empty where no group is stated."""
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


def _valid(record: FaceRecord) -> npt.NDArray[np.bool_] | None:
    """(256, 256) bool, where a face is a truth; None = everywhere."""
    return None if record.valid_box is None else valid_mask(record.valid_box, record.size, CROP)


def _kind(record: FaceRecord) -> str:
    """Real or synthetic where the face can serve as truth at 512, else other."""
    return record.kind if record.sharp else "other"
