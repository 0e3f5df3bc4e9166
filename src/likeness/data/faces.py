"""Aligned faces listed in a manifest: records, splits and a cache of decoded pixels."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from likeness.errors import ConfigError, DataError
from likeness.ops.resize import resize
from likeness.types import Pixels

Split = Literal["train", "val", "calib"]
CALIB_FRACTION = 0.1  # of the manifest's training faces
SHARP_PX = 448  # a crop of fewer source pixels was enlarged and is no ground truth at 512


@dataclass(frozen=True)
class FaceRecord:
    """One row of a manifest.

    Attributes:
        file: path below the manifest's folder.
        set: name of the data set that the face comes from.
        kind: "real" or "synthetic" people.
        group: for tables by group; may be empty.
        size: edge of the stored crop in pixels.
        native_px: number of source pixels along the crop's edge.
        split: "train" or "val".
        valid_box: x0, y0, x1, y1 in pixels of the crop. Pixels outside are mirrored and no ground truth. None = all
            pixels are valid.
    """

    file: str
    set: str
    kind: str
    group: str
    size: int
    native_px: float
    split: str
    valid_box: tuple[int, int, int, int] | None = None

    @property
    def sharp(self) -> bool:
        """Whether it can serve as ground truth at 512 px."""
        return self.size >= 512 and self.native_px >= SHARP_PX


def read_manifest(root: Path | str) -> list[FaceRecord]:
    """Reads `root/manifest.csv`.

    Raises:
        DataError: if the file is missing, has no rows or lacks a column.
    """
    file = Path(root) / "manifest.csv"
    if not file.is_file():
        raise DataError(
            f"no face data: {file} does not exist; set data.root=DIR (or LIKENESS_DATA) to a folder written by "
            "`python -m likeness.tasks.prepare src=PHOTOS dst=DIR size=512`, or train with experiment=smoke"
        )
    with file.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    needed = {"file", "set", "kind", "group", "size", "native_px", "split"}
    if not rows or not needed <= rows[0].keys():
        missing = sorted(needed - set(rows[0] if rows else ()))
        raise DataError(f"{file}: no rows or columns missing ({', '.join(missing)}); write it again with prepare")
    return [
        FaceRecord(
            r["file"], r["set"], r["kind"], r["group"], int(r["size"]), float(r["native_px"]), r["split"],
            _box(r.get("valid_box") or "", r["file"], file),
        )
        for r in rows
    ]  # fmt: skip


def _box(text: str, face: str, manifest: Path) -> tuple[int, int, int, int] | None:
    if not text:
        return None
    try:
        x0, y0, x1, y1 = (int(word) for word in text.split())
    except ValueError as error:
        raise DataError(
            f"{manifest}: {face} has valid_box {text!r}, expected x0 y0 x1 y1; correct or empty it"
        ) from error
    return x0, y0, x1, y1


def valid_mask(box: tuple[int, int, int, int] | None, size: int, edge: int) -> npt.NDArray[np.bool_]:
    """Mask of the pixels that are ground truth. A pixel cut by the box's border is not.

    Args:
        box: x0, y0, x1, y1 in pixels of a crop of `size`, x1 and y1 excluded. None = all pixels are valid.
        size: edge of that crop in pixels.
        edge: of the mask in pixels.

    Returns:
        (edge, edge) bool.
    """
    valid = np.ones((edge, edge), np.bool_)
    if box is not None:
        x0, y0, x1, y1 = (value * edge / size for value in box)
        valid[:] = False
        valid[int(np.ceil(y0)) : int(y1), int(np.ceil(x0)) : int(x1)] = True
    return valid


def is_calib(record: FaceRecord) -> bool:
    """Whether a training face is held out for calibration: one in ten, selected by the hash of its name."""
    digest = hashlib.sha256(record.file.encode()).digest()
    return record.split == "train" and int.from_bytes(digest[:4], "big") < CALIB_FRACTION * 2**32


def split_records(records: Sequence[FaceRecord], split: Split) -> list[FaceRecord]:
    """The faces of one split. `calib` is held out of the manifest's training faces and never trained on.

    Raises:
        ConfigError: if the split is not train, val or calib.
    """
    if split == "val":
        return [r for r in records if r.split == "val"]
    if split == "calib":
        return [r for r in records if is_calib(r)]
    if split == "train":
        return [r for r in records if r.split == "train" and not is_calib(r)]
    raise ConfigError(f"split: got {split!r}, expected train, val or calib")


def read_face(root: Path | str, record: FaceRecord, size: int = 512) -> Pixels:
    """Reads one face, resized by `resize_face` to (size, size, 3) uint8.

    Raises:
        DataError: if the file cannot be read.
    """
    try:
        with Image.open(Path(root) / record.file) as picture:
            pixels = np.asarray(picture.convert("RGB"))
    except OSError as error:
        raise DataError(
            f"{Path(root) / record.file}: cannot be read ({error}); restore it or remove its row"
        ) from error
    return resize(pixels, size, size)


def cached_faces(
    root: Path | str, records: Sequence[FaceRecord], cache: Path | str, size: int = 512
) -> npt.NDArray[np.uint8]:
    """Decodes all faces once into a file in `cache` and maps it into memory.

    The file's name contains a hash of the list of faces, so a changed manifest gets a new file. The file gets this name
    only when it is complete.

    Returns:
        (N, size, size, 3) uint8, read-only.

    Raises:
        DataError: if a face cannot be read.
    """
    key = hashlib.sha256("\n".join([str(Path(root).resolve()), str(size), *(r.file for r in records)]).encode())
    folder = Path(cache)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"faces-{key.hexdigest()[:16]}.npy"
    if not file.exists():
        partial = file.with_suffix(".partial.npy")
        store = np.lib.format.open_memmap(partial, "w+", np.uint8, (len(records), size, size, 3))
        for i, record in enumerate(records):
            store[i] = read_face(root, record, size)
        store.flush()
        del store
        partial.rename(file)
    loaded: npt.NDArray[np.uint8] = np.load(file, mmap_mode="r")
    return loaded
