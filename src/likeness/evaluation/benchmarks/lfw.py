"""Labeled Faces in the Wild, aligned: the images of View 1's test pairs, and those of View 2's.

Huang et al., University of Massachusetts technical report 07-49, 2007. For reporting only: nothing is
trained, tuned or calibrated on it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from likeness.errors import DataError
from likeness.evaluation.benchmarks.base import CROP, Benchmark, Sample, View, content_hash, spread
from likeness.metrics.landmarks import Detector, nearest_face
from likeness.ops import color, geometry
from likeness.ops.geometry import face_width
from likeness.types import Faces, Pixels

VIEW_1, VIEW_2 = "pairsDevTest.txt", "pairs.txt"
# Mean of MTCNN's landmarks on the benchmark's 1000 clean 250 x 250 frames, for a frame in which it finds no face.
MEAN_LANDMARKS = np.array([(105.8, 113.6), (147.0, 112.8), (126.8, 137.7), (108.9, 158.7), (145.3, 158.1)])
_EXTENSIONS = (".jpg", ".png", ".avif", ".jpeg", ".webp", ".bmp", ".ppm")
_BATCH = 16
_WHERE = (
    "get the images, pairsDevTest.txt and pairs.txt from the LFW home page (vis-www.cs.umass.edu/lfw), put them into "
    "$LIKENESS_DATA/lfw, the pictures as lfw/NAME/NAME_0001.jpg, or name the folder with data.lfw=DIR"
)

Points = dict[str, list[list[float]] | None]


@dataclass(frozen=True)
class Pair:
    """Two pictures, named as NAME_0001; `fold` counts from 0."""

    first: str
    second: str
    same: bool
    fold: int


@dataclass(frozen=True)
class LandmarkFinder:
    """Finds the landmarks of the face nearest to the centre of each clean frame.

    Attributes:
        detector: makes the detector; called only if a frame is not in the cache.
        cache: JSON file, SHA-256 of a frame's file to its landmarks; made or added to.
        progress: called with the number of frames just done.
    """

    detector: Callable[[], Detector]
    cache: Path
    progress: Callable[[int], None] = lambda count: None

    def find(self, files: Sequence[Path]) -> list[geometry.Matrix | None]:
        """(5, 2) pixels of each frame; None where no face is found."""
        known = _read_cache(self.cache)
        keys = [hashlib.sha256(f.read_bytes()).hexdigest() for f in files]
        missing = {k: f for k, f in zip(keys, files, strict=True) if k not in known}
        self.progress(len(files) - len(missing))
        if missing:
            detect = self.detector().detect
            items = list(missing.items())
            for start in range(0, len(items), _BATCH):
                batch = items[start : start + _BATCH]
                frames = [read_frame(f) for _, f in batch]
                for (key, _), frame, faces in zip(batch, frames, _detect(detect, frames), strict=True):
                    height, width = frame.shape[:2]
                    face = nearest_face(faces, ((width - 1) / 2, (height - 1) / 2))
                    known[key] = face.landmarks[0].astype(float).tolist() if len(face) else None
                self.progress(len(batch))
            _write_cache(self.cache, known)
        return [None if (points := known[k]) is None else np.array(points) for k in keys]


def read_image_names(pairs: Path) -> list[str]:
    """The distinct images of an LFW pairs file, sorted, as NAME_0001.

    Raises:
        DataError: if a line is neither "name i j" nor "name i name j".
    """
    names: set[str] = set()
    for number, line in enumerate(pairs.read_text().splitlines()[1:], 2):
        cells = line.split()
        if len(cells) == 3:
            cells = [cells[0], cells[1], cells[0], cells[2]]
        if len(cells) != 4 or not (cells[1].isdigit() and cells[3].isdigit()):
            raise DataError(f"{pairs}, line {number}: got {line!r}, expected 'name i j' or 'name i name j'")
        names |= {f"{cells[0]}_{int(cells[1]):04d}", f"{cells[2]}_{int(cells[3]):04d}"}
    return sorted(names)


def read_pairs(file: Path) -> list[Pair]:
    """The pairs of an LFW list: "FOLDS N" and in each fold N same pairs, then N others; View 1 has "N" alone.

    Raises:
        DataError: if the file is not of that form.
    """
    lines = [line.split() for line in file.read_text().splitlines() if line.strip()]
    head = lines[0] if lines else []
    if not head or len(head) > 2 or not all(word.isdigit() for word in head):
        raise DataError(f"{file}, line 1: got {' '.join(head)!r}, expected 'FOLDS N' or 'N'")
    folds, each = (int(head[0]), int(head[1])) if len(head) == 2 else (1, int(head[0]))
    if len(lines) - 1 != 2 * folds * each:
        raise DataError(f"{file}: got {len(lines) - 1} pairs, expected {folds} folds of {each} same and {each} others")
    pairs = []
    for number, cells in enumerate(lines[1:]):
        fold, place = divmod(number, 2 * each)
        same = place < each
        names = (cells[0], cells[0]) if same else (cells[0], cells[2] if len(cells) == 4 else "")
        indices = cells[1:] if same else cells[1::2]
        if len(cells) != (3 if same else 4) or not all(i.isdigit() for i in indices):
            form = "'name i j'" if same else "'name i name j'"
            raise DataError(f"{file}, line {number + 2}: got {' '.join(cells)!r}, expected {form}")
        first, second = (f"{name}_{int(i):04d}" for name, i in zip(names, indices, strict=True))
        pairs.append(Pair(first, second, same, fold))
    return pairs


def find_image(folder: Path, name: str) -> Path:
    """The file of NAME_0001 below `folder`/NAME or `folder`/lfw/NAME, whatever its format.

    Raises:
        DataError: if there is none.
    """
    person = name.rsplit("_", 1)[0]
    for base in (folder / "lfw" / person, folder / person):
        for extension in _EXTENSIONS:
            file = base / f"{name}{extension}"
            if file.is_file():
                return file
    raise DataError(f"LFW: no picture of {name} in {folder}/lfw/{person}; {_WHERE}")


def read_frame(file: Path) -> Pixels:
    """One frame, HWC uint8 RGB."""
    try:
        with Image.open(file) as picture:
            return np.asarray(picture.convert("RGB"))
    except OSError as error:
        raise DataError(f"LFW: {file} cannot be read ({error}); fetch it again") from error


def align(frame: Pixels, landmarks: geometry.Matrix) -> Pixels:
    """The FFHQ-aligned 256 crop of a frame, rounded to 8 bits: the truth."""
    matrix = geometry.similarity(landmarks, CROP)
    return color.to_integer(geometry.warp(color.to_float(frame), matrix, (CROP, CROP)))


def open_lfw(folder: Path | None, finder: LandmarkFinder, count: int, limit: int | None = None) -> Benchmark:
    """The first `count` images of pairsDevTest by sorted name, aligned to 256.

    Where no face is found, `MEAN_LANDMARKS` are used; the facts count such frames.

    Args:
        folder: holds pairsDevTest.txt and the pictures.
        finder: of the landmarks.
        count: images of the benchmark.
        limit: at most so many of them, spread.

    Raises:
        DataError: if the set is missing or incomplete.
    """
    root = _root(folder, VIEW_1)
    return _aligned("lfw", root, _view_1(root, count, limit), finder)


def open_lfw_frames(folder: Path | None, finder: LandmarkFinder, count: int, limit: int | None = None) -> Benchmark:
    """The same images as whole frames, which the pipeline searches itself.

    Frames in which no face is found when they are clean are left out; the facts count them.

    Args:
        folder, finder, count, limit: see `open_lfw`.

    Raises:
        DataError: if the set is missing or incomplete.
    """
    root = _root(folder, VIEW_1)
    every = _view_1(root, count, limit)
    every_file = [find_image(root, n) for n in every]
    faces = [(n, f, p) for n, f, p in zip(every, every_file, finder.find(every_file), strict=True) if p is not None]
    names, files = [n for n, _, _ in faces], [f for _, f, _ in faces]

    def load(index: int) -> Sample:
        name, file, points = faces[index]
        frame, matrix = read_frame(file), geometry.similarity(points, CROP)
        width = face_width(points.astype(np.float32))
        return Sample(name, "lfw", align(frame, points), width=width, frame=frame, matrix=matrix)

    facts = {"frames": len(names), "frames without a detection (left out)": len(every) - len(names)}
    views = (View("LFW frames, 256", CROP),)
    return Benchmark("lfw_frames", names, load, views, content_hash(files, names), facts, whole_frames=True)


def open_view_2(
    folder: Path | None, finder: LandmarkFinder, limit: int | None = None
) -> tuple[list[Pair], Benchmark, Benchmark | None]:
    """View 2's pairs, and the pictures that they name, aligned to 256.

    Args:
        folder: holds pairs.txt, of two folds or more, and the pictures.
        finder: of the landmarks.
        limit: at most so many pairs, spread.

    Returns:
        The pairs; all second pictures; the first pictures that are no second ones, None if there are none.

    Raises:
        DataError: if the set is missing or incomplete.
    """
    root = _root(folder, VIEW_2)
    pairs = spread(read_pairs(root / VIEW_2), limit)
    seconds = sorted({p.second for p in pairs})
    firsts = sorted({p.first for p in pairs} - set(seconds))
    others = _aligned("lfw view 2, first pictures", root, firsts, finder) if firsts else None
    return pairs, _aligned("lfw view 2", root, seconds, finder), others


def _root(folder: Path | None, pairs: str) -> Path:
    if folder is None or not (folder / pairs).is_file():
        raise DataError(f"LFW: no {pairs} in {folder or 'any folder'}; {_WHERE}")
    return folder


def _view_1(root: Path, count: int, limit: int | None) -> list[str]:
    return spread(read_image_names(root / VIEW_1)[:count], limit)


def _aligned(name: str, root: Path, names: Sequence[str], finder: LandmarkFinder) -> Benchmark:
    files = [find_image(root, n) for n in names]
    landmarks = finder.find(files)
    points = [MEAN_LANDMARKS if p is None else p for p in landmarks]

    def load(index: int) -> Sample:
        truth = align(read_frame(files[index]), points[index])
        return Sample(names[index], "lfw", truth, width=face_width(points[index].astype(np.float32)))

    misses = sum(p is None for p in landmarks)
    facts = {"faces": len(names), "faces without a detection (mean landmarks used)": misses}
    return Benchmark(name, names, load, (View("LFW, 256", CROP),), content_hash(files, names), facts)


def _detect(detect: Callable[[Sequence[Pixels]], list[Faces]], frames: Sequence[Pixels]) -> list[Faces]:
    if len({f.shape for f in frames}) == 1:
        return detect(frames)
    return [detect([f])[0] for f in frames]  # detectors batch equal sizes only


def _read_cache(file: Path) -> Points:
    if not file.exists():
        return {}
    try:
        known: Points = json.loads(file.read_text())
    except ValueError as error:
        raise DataError(f"{file}: the landmark cache is damaged ({error}); delete it") from error
    return known


def _write_cache(file: Path, known: Mapping[str, list[list[float]] | None]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps(known, sort_keys=True))
    partial.replace(file)
