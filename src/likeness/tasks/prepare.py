"""Builds a face data set from photos: `python -m likeness.tasks.prepare src=PHOTOS dst=DIR size=512`."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from omegaconf import MISSING
from PIL import Image, ImageOps, features

from likeness.errors import ConfigError, InputError, OutputError
from likeness.log import get_logger
from likeness.metrics.sharpness import laplacian_variance
from likeness.ops.color import to_float, to_integer
from likeness.ops.geometry import scale_of
from likeness.ops.resize import resize
from likeness.ops.tensors import to_tensor
from likeness.stages.align import align
from likeness.stages.detect.base import DetectConfig
from likeness.stages.detect.mtcnn import MtcnnDetector
from likeness.tasks import arguments
from likeness.types import Faces, Pixels

log = get_logger(__name__)

COLUMNS = ("file", "set", "kind", "group", "size", "native_px", "laplacian_256", "split", "source_md5")
PHOTOS = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".avif"}
# What Pillow raises on damaged files.
_DAMAGED = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)


class FaceDetector(Protocol):
    """A face detector."""

    def detect(self, frames: Sequence[Pixels]) -> list[Faces]:
        """Faces of each HWC uint8 RGB frame."""
        ...


@dataclass
class PrepareOptions:
    """Detects the faces in photos, aligns them and writes a data set for training.

    Attributes:
        src: folder of photos, searched recursively.
        dst: folder of the data set; must not contain one yet.
        size: edge of the crops in pixels, at least 256.
        min_native: smallest number of source pixels along a crop's edge; smaller faces are left out. None = half of
            `size`.
        min_inside: smallest fraction of a crop that lies inside the photo, 0..1.
        val: fraction of the photos whose faces are for validation, 0..1. They are selected by the photo's hash, so
            faces of one photo stay together and a second run selects the same.
        set: name of the set and of its sub-folder; empty = the name of `src`.
        kind: "real" or "synthetic" people.
        group: written to the manifest, for tables by group.
        format: "avif" (quality 85, 4:4:4, about a tenth of the size) or "png" (lossless).
    """

    src: str = MISSING
    dst: str = MISSING
    size: int = 512
    min_native: float | None = None
    min_inside: float = 0.9
    val: float = 0.08
    set: str = ""
    kind: str = "real"
    group: str = ""
    format: str = "avif"


def prepare(options: PrepareOptions, detector: FaceDetector | None = None) -> Path:
    """Writes the data set; damaged photos are logged, skipped and counted.

    Args:
        options: see `PrepareOptions`.
        detector: None = MTCNN.

    Returns:
        The manifest. It is written last, so a folder without one is an incomplete set.

    Raises:
        ConfigError: if an option is out of range.
        InputError: if `src` is not a folder or has no usable face.
        OutputError: if `dst` already contains a set or cannot be written.
    """
    _check(options)
    source, target = Path(options.src), Path(options.dst)
    name = options.set or re.sub(r"[^\w.-]+", "_", source.resolve().name) or "photos"
    min_native = options.size / 2 if options.min_native is None else options.min_native
    if not source.is_dir():
        raise InputError(f"src: {source} is not a folder; expected one with photos ({', '.join(sorted(PHOTOS))})")
    manifest = target / "manifest.csv"
    if manifest.exists():
        raise OutputError(f"dst: {manifest} already exists and is not overwritten; give another folder")
    # A face's box is about half as wide as its crop, so much smaller faces need not be detected.
    detector = detector or MtcnnDetector(DetectConfig(min_face=max(20.0, 0.35 * min_native), score=0.95))

    rows: list[dict[str, object]] = []
    skipped = {"damaged": 0, "duplicate": 0, "without a face": 0}
    small = 0
    for file in _photos(source, target):
        data = file.read_bytes()
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if any(row["source_md5"] == digest for row in rows):
            skipped["duplicate"] += 1
            continue
        try:
            pixels = _read(data)
        except _DAMAGED as error:
            log.warning("%s: skipped, cannot be read (%s)", file, error)
            skipped["damaged"] += 1
            continue
        faces = detector.detect([pixels])[0]
        skipped["without a face"] += not len(faces)
        for number, landmarks in enumerate(faces.landmarks):
            crop = align(pixels, landmarks, options.size)
            native = options.size / scale_of(crop.matrix)
            if native < min_native or crop.inside < options.min_inside:
                small += 1
                continue
            path = f"{name}/{digest[:16]}_{number}.{options.format}"
            image = to_integer(crop.image)
            _write(target / path, image, options.format)
            values = (path, name, options.kind, options.group, options.size, round(native, 1))
            measured = (round(_laplacian(image), 1), _split(digest, options.val), digest)
            rows.append(dict(zip(COLUMNS, values + measured, strict=True)))
    skipped_text = ", ".join(f"{count} {reason}" for reason, count in skipped.items())
    if not rows:
        raise InputError(
            f"src: no face of {source} could be stored (photos: {skipped_text}; faces too small or cut off: {small}); "
            f"give larger photos or a smaller min_native (now {min_native:g})"
        )
    _write_manifest(manifest, rows)
    val = sum(row["split"] == "val" for row in rows)
    log.info("%d faces stored, %d of them for validation, in %s", len(rows), val, target)
    log.info("photos skipped: %s; faces too small or cut off: %d", skipped_text, small)
    return manifest


def _check(options: PrepareOptions) -> None:
    if options.size < 256:
        raise ConfigError(f"size: got {options.size}, expected at least 256")
    if options.kind not in ("real", "synthetic"):
        raise ConfigError(f"kind: got {options.kind!r}, expected real or synthetic")
    if options.format not in ("avif", "png"):
        raise ConfigError(f"format: got {options.format!r}, expected avif or png")
    if options.format == "avif" and not features.check("avif"):
        raise ConfigError("format: this Pillow cannot write AVIF; use format=png or Pillow 11.3 and later")
    for name in ("min_inside", "val"):
        if not 0 <= getattr(options, name) <= 1:
            raise ConfigError(f"{name}: got {getattr(options, name)}, expected a fraction from 0 to 1")


def _photos(source: Path, target: Path) -> Iterator[Path]:
    excluded = target.resolve()
    for file in sorted(source.rglob("*")):
        if file.suffix.lower() in PHOTOS and file.is_file() and excluded not in file.resolve().parents:
            yield file


def _read(data: bytes) -> Pixels:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))


def _write(file: Path, image: Pixels, kind: str) -> None:
    options: dict[str, Any] = {"quality": 85, "subsampling": "4:4:4"} if kind == "avif" else {}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file, **options)
    except OSError as error:
        raise OutputError(f"dst: cannot write {file} ({error}); free space or give another folder") from error


def _laplacian(image: Pixels) -> float:
    return float(laplacian_variance(to_tensor(to_float(resize(image, 256, 256)))))


def _split(digest: str, val: float) -> str:
    return "val" if int(digest[:8], 16) < val * 2**32 else "train"


def _write_manifest(file: Path, rows: Sequence[dict[str, object]]) -> None:
    partial = file.with_suffix(".partial")
    try:
        with partial.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        partial.replace(file)
    except OSError as error:
        raise OutputError(f"dst: cannot write {file} ({error}); free space or give another folder") from error


if __name__ == "__main__":
    sys.exit(arguments.main(PrepareOptions, prepare, about=__doc__ or ""))
