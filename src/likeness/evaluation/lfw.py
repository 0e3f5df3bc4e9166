"""Labeled Faces in the Wild, aligned: the images of View 1's test pairs, and those of View 2's.

Huang et al., University of Massachusetts technical report 07-49, 2007. Reported only: nothing is
trained, tuned or calibrated on it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from likeness.errors import DataError
from likeness.evaluation.benchmarks import Benchmark, Sample, View, content_hash, spread
from likeness.evaluation.verification import Pair, read_pairs
from likeness.metrics.landmarks import Detector, nearest_face
from likeness.ops import color, geometry
from likeness.stages.align import face_width
from likeness.types import Faces, Pixels

PAIRS, VIEW_2 = "pairsDevTest.txt", "pairs.txt"
SIZE = 256
_EXTENSIONS = (".jpg", ".png", ".avif", ".jpeg", ".webp", ".bmp", ".ppm")
_BATCH = 16
_WHERE = (
    "get the images, pairsDevTest.txt and pairs.txt from the LFW home page (vis-www.cs.umass.edu/lfw), put them into "
    "$LIKENESS_DATA/lfw, the pictures as lfw/NAME/NAME_0001.jpg, or name the folder with data.lfw=DIR"
)

Points = dict[str, list[list[float]] | None]


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


def clean_landmarks(
    files: Sequence[Path],
    detector: Callable[[], Detector],
    cache: Path,
    progress: Callable[[int], None] | None = None,
) -> list[geometry.Matrix | None]:
    """Landmarks of the face nearest to the centre of each clean frame; None where none is found.

    Args:
        files: the frames.
        detector: makes the detector; called only if a frame is not in the cache.
        cache: JSON file, SHA-256 of a frame's file to its landmarks; made or added to.
        progress: told how many frames were done.

    Returns:
        (5, 2) pixels of the frame, one a file.
    """
    known = _read_cache(cache)
    keys = [hashlib.sha256(f.read_bytes()).hexdigest() for f in files]
    todo = {k: f for k, f in zip(keys, files, strict=True) if k not in known}
    if progress:
        progress(len(files) - len(todo))
    if todo:
        detect = detector().detect
        waiting = list(todo.items())
        for start in range(0, len(waiting), _BATCH):
            batch = waiting[start : start + _BATCH]
            frames = [read_frame(f) for _, f in batch]
            for (key, _), frame, faces in zip(batch, frames, _detect(detect, frames), strict=True):
                height, width = frame.shape[:2]
                face = nearest_face(faces, ((width - 1) / 2, (height - 1) / 2))
                known[key] = face.landmarks[0].astype(float).tolist() if len(face) else None
            if progress:
                progress(len(batch))
        _write_cache(cache, known)
    return [None if (points := known[k]) is None else np.array(points) for k in keys]


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


def align(frame: Pixels, landmarks: geometry.Matrix) -> Pixels:
    """The FFHQ-aligned 256 crop of a frame, rounded to 8 bits: the truth."""
    matrix = geometry.similarity(landmarks, SIZE)
    return color.to_integer(geometry.warp(color.to_float(frame), matrix, (SIZE, SIZE)))


def open_lfw(
    folder: Path | None,
    detector: Callable[[], Detector],
    cache: Path,
    mean_landmarks: Sequence[Sequence[float]],
    count: int = 1000,
    limit: int | None = None,
    progress: Callable[[int], None] | None = None,
    whole: bool = False,
) -> Benchmark:
    """The first `count` images of pairsDevTest by sorted name, aligned to 256.

    Args:
        folder: holds pairsDevTest.txt and the pictures.
        detector: makes the landmark detector.
        cache: see `clean_landmarks`.
        mean_landmarks: (5, 2), used where no face is found (counted in the facts).
        count: images of the benchmark.
        limit: at most so many of them, spread.
        progress: told how many frames were aligned.
        whole: methods are given the frames, which the pipeline searches itself; those without a detection when clean
            are left out.

    Raises:
        DataError: if the set is missing or incomplete.
    """
    root = _root(folder, PAIRS)
    names = spread(read_image_names(root / PAIRS)[:count], limit)
    if whole:
        return _frames(root, names, detector, cache, progress)
    return _aligned("lfw", root, names, detector, cache, mean_landmarks, progress)


def _frames(
    root: Path,
    names: Sequence[str],
    detector: Callable[[], Detector],
    cache: Path,
    progress: Callable[[int], None] | None,
) -> Benchmark:
    every = [find_image(root, n) for n in names]
    found = clean_landmarks(every, detector, cache, progress)
    known = [(n, f, p) for n, f, p in zip(names, every, found, strict=True) if p is not None]
    names, files = [n for n, _, _ in known], [f for _, f, _ in known]

    def load(index: int) -> Sample:
        name, file, points = known[index]
        frame, matrix = read_frame(file), geometry.similarity(points, SIZE)
        width = face_width(points.astype(np.float32))
        return Sample(name, "lfw", align(frame, points), width=width, frame=frame, matrix=matrix)

    facts = {"frames": len(names), "frames without a detection (left out)": len(every) - len(names)}
    views = (View("LFW frames, 256", 256),)
    return Benchmark("lfw_frames", names, load, views, content_hash(files, names), facts, whole=True)


def open_view_2(
    folder: Path | None,
    detector: Callable[[], Detector],
    cache: Path,
    mean_landmarks: Sequence[Sequence[float]],
    limit: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[list[Pair], Benchmark, Benchmark | None]:
    """View 2's pairs, and the pictures that they name, aligned to 256.

    Args:
        folder: holds pairs.txt, of any number of folds from two up, and the pictures.
        detector, cache, mean_landmarks, progress: see `open_lfw`.
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
    opened = [
        _aligned(name, root, images, detector, cache, mean_landmarks, progress) if images else None
        for name, images in (("lfw view 2", seconds), ("lfw view 2, first pictures", firsts))
    ]
    assert opened[0] is not None  # a list of pairs is not empty
    return pairs, opened[0], opened[1]


def _root(folder: Path | None, pairs: str) -> Path:
    if folder is None or not (folder / pairs).is_file():
        raise DataError(f"LFW: no {pairs} in {folder or 'any folder'}; {_WHERE}")
    return folder


def _aligned(
    name: str,
    root: Path,
    names: Sequence[str],
    detector: Callable[[], Detector],
    cache: Path,
    mean_landmarks: Sequence[Sequence[float]],
    progress: Callable[[int], None] | None,
) -> Benchmark:
    files = [find_image(root, n) for n in names]
    found = clean_landmarks(files, detector, cache, progress)
    points = [np.asarray(mean_landmarks, np.float64) if p is None else p for p in found]

    def load(index: int) -> Sample:
        return Sample(
            names[index],
            "lfw",
            align(read_frame(files[index]), points[index]),
            width=face_width(points[index].astype(np.float32)),
        )

    facts = {"faces": len(names), "faces without a detection (mean landmarks used)": sum(p is None for p in found)}
    return Benchmark(name, names, load, (View("LFW, 256", 256),), content_hash(files, names), facts)
