"""Clips that serve as their own ground truth, and where their faces truly are."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from likeness.errors import DataError
from likeness.evaluation.benchmarks import spread
from likeness.media.video import VideoReader
from likeness.metrics.landmarks import Detector
from likeness.metrics.temporal import smooth
from likeness.stages.align import face_width
from likeness.types import FloatArray, Pixels

_BATCH = 8
_GAP = 5  # frames for which a face may go unseen and still be the same
_LEAST = 12  # frames that a face must be there for
_NEAR = 0.5  # of its width: how far a face may move from frame to frame


@dataclass(frozen=True)
class TrueClip:
    """One clip.

    Attributes:
        name: its file's.
        file: where it lies.
        factor: by how much it is shrunk, and enlarged again.
        group: clips of the same people count as one in intervals.
    """

    name: str
    file: Path
    factor: int
    group: str


@dataclass(frozen=True)
class TrueFace:
    """One face of a clip over time.

    Attributes:
        start: its first frame.
        landmarks: (T, 5, 2) in frame pixels, smoothed forward and backward.
    """

    start: int
    landmarks: npt.NDArray[np.floating]

    def at(self, index: int) -> npt.NDArray[np.floating] | None:
        """(5, 2) in frame `index`; None where it is not there."""
        place = index - self.start
        return self.landmarks[place] if 0 <= place < len(self.landmarks) else None

    @property
    def width(self) -> float:
        """Its median width in frame pixels."""
        return float(np.median([face_width(p.astype(np.float32)) for p in self.landmarks]))


def open_clips(folder: Path | None, groups: Mapping[str, str], limit: int | None = None) -> list[TrueClip]:
    """The clips of a folder whose index names a factor.

    Args:
        folder: holds index.csv (columns file, factor) and the clips.
        groups: file name to the name of its group, where clips share people.
        limit: at most so many, spread.

    Raises:
        DataError: if there is no index, or a clip of it is missing.
    """
    if folder is None or not (folder / "index.csv").is_file():
        raise DataError(
            f"video: no index.csv in {folder or 'any folder'}; set LIKENESS_DATA, or data.root=DIR with "
            "DIR/clips_good/index.csv (columns file, factor)"
        )
    with (folder / "index.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if (row.get("factor") or "").strip()]
    clips = [TrueClip(r["file"], folder / r["file"], int(r["factor"]), groups.get(r["file"], r["file"])) for r in rows]
    for clip in clips:
        if not clip.file.is_file():
            raise DataError(f"video: {clip.file} is in the index but not there; fetch it again or drop its row")
    if not clips:
        raise DataError(f"video: {folder}/index.csv names no clip with a factor; expected at least one")
    return spread(clips, limit)


def true_frames(clip: TrueClip, count: int | None) -> Iterator[Pixels]:
    """The first `count` frames (None = all), HWC uint8, cut at the right and bottom so that they can be shrunk."""
    step = 2 * clip.factor
    with VideoReader(clip.file) as reader:
        for frame in islice(reader, count):
            pixels = frame.pixels if frame.pixels.dtype == np.uint8 else (frame.pixels >> 8).astype(np.uint8)
            height, width = pixels.shape[:2]
            yield np.ascontiguousarray(pixels[: height // step * step, : width // step * step])


def rate_of(clip: TrueClip) -> Fraction:
    """Frames a second."""
    return VideoReader(clip.file).source.rate


def true_faces(frames: Iterator[Pixels], detector: Detector) -> list[TrueFace]:
    """Finds every face in every frame and joins them by nearness; short gaps are bridged evenly."""
    open_: list[tuple[int, list[FloatArray | None]]] = []
    done: list[tuple[int, list[FloatArray | None]]] = []
    index = 0
    while batch := list(islice(frames, _BATCH)):
        for faces in detector.detect(batch):
            taken: set[int] = set()
            for _, seen in open_:
                last = next(p for p in reversed(seen) if p is not None)
                found = _nearest(last, faces.landmarks, taken)
                seen.append(None if found is None else faces.landmarks[found])
                if found is not None:
                    taken.add(found)
            for t in [t for t in open_ if all(p is None for p in t[1][-_GAP:])]:
                open_.remove(t)
                done.append(t)
            open_ += [(index, [faces.landmarks[f]]) for f in range(len(faces)) if f not in taken]
            index += 1
    found_faces = []
    for start, seen in sorted(done + open_, key=lambda t: t[0]):
        while seen and seen[-1] is None:
            seen.pop()
        if sum(p is not None for p in seen) >= _LEAST:
            found_faces.append(TrueFace(start, smooth(_bridged(seen))))
    return found_faces


def _nearest(last: FloatArray, landmarks: FloatArray, taken: set[int]) -> int | None:
    free = [f for f in range(len(landmarks)) if f not in taken]
    if not free:
        return None
    apart = [float(np.linalg.norm(landmarks[f].mean(0) - last.mean(0))) for f in free]
    best = int(np.argmin(apart))
    return free[best] if apart[best] < _NEAR * face_width(last) else None


def _bridged(seen: Sequence[FloatArray | None]) -> npt.NDArray[np.float64]:
    known = [i for i, p in enumerate(seen) if p is not None]
    points = np.stack([p for p in seen if p is not None]).astype(np.float64).reshape(len(known), 10)
    return np.stack([np.interp(np.arange(len(seen)), known, column) for column in points.T], 1).reshape(-1, 5, 2)
