"""Clips that serve as their own ground truth, and the landmarks of their faces in every frame."""

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
from likeness.evaluation.benchmarks.base import spread
from likeness.media.video_reader import VideoReader
from likeness.metrics.landmarks import Detector
from likeness.metrics.temporal import smooth
from likeness.ops.geometry import face_width
from likeness.types import FloatArray, Pixels

_BATCH = 8
_GAP = 5  # frames for which a face may go undetected and still be the same
_SHORTEST = 12  # frames in which a face must be detected
_NEAR = 0.5  # of its width: how far a face may move from frame to frame


@dataclass(frozen=True)
class TrueClip:
    """One clip.

    Attributes:
        name: of its file.
        file: its path.
        factor: by how much it is shrunk, and enlarged again.
        group: clips of the same people count as one in intervals.
        count: only so many frames; None = all.
    """

    name: str
    file: Path
    factor: int
    group: str
    count: int | None = None

    @property
    def rate(self) -> Fraction:
        """Frames a second."""
        return VideoReader(self.file).source.rate

    @property
    def length(self) -> int | None:
        """Number of frames, as far as the container states it."""
        return self.count or VideoReader(self.file).info.frames


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


def open_clips(
    folder: Path | None, groups: Mapping[str, str], limit: int | None = None, count: int | None = None
) -> list[TrueClip]:
    """The clips of a folder whose index names a factor.

    Args:
        folder: holds index.csv (columns file, factor) and the clips.
        groups: file name to the name of its group, where clips share people.
        limit: at most so many clips, spread.
        count: only so many frames of each.

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
    clips = [
        TrueClip(r["file"], folder / r["file"], int(r["factor"]), groups.get(r["file"], r["file"]), count) for r in rows
    ]
    for clip in clips:
        if not clip.file.is_file():
            raise DataError(f"video: {clip.file} is in the index but not there; fetch it again or drop its row")
    if not clips:
        raise DataError(f"video: {folder}/index.csv names no clip with a factor; expected at least one")
    return spread(clips, limit)


def true_frames(clip: TrueClip) -> Iterator[Pixels]:
    """The frames, HWC uint8, cut at the right and bottom so that they can be shrunk by the clip's factor."""
    step = 2 * clip.factor
    with VideoReader(clip.file) as reader:
        for frame in islice(reader, clip.count):
            pixels = frame.pixels if frame.pixels.dtype == np.uint8 else (frame.pixels >> 8).astype(np.uint8)
            height, width = pixels.shape[:2]
            yield np.ascontiguousarray(pixels[: height // step * step, : width // step * step])


def true_faces(frames: Iterator[Pixels], detector: Detector) -> list[TrueFace]:
    """Detects every face in every frame and joins them by nearness; landmarks of short gaps are interpolated."""
    active: list[tuple[int, list[FloatArray | None]]] = []
    ended: list[tuple[int, list[FloatArray | None]]] = []
    index = 0
    while batch := list(islice(frames, _BATCH)):
        for faces in detector.detect(batch):
            taken: set[int] = set()
            for _, points in active:
                last = next(p for p in reversed(points) if p is not None)
                nearest = _nearest(last, faces.landmarks, taken)
                points.append(None if nearest is None else faces.landmarks[nearest])
                if nearest is not None:
                    taken.add(nearest)
            for track in [t for t in active if all(p is None for p in t[1][-_GAP:])]:
                active.remove(track)
                ended.append(track)
            active += [(index, [faces.landmarks[f]]) for f in range(len(faces)) if f not in taken]
            index += 1
    result = []
    for start, points in sorted(ended + active, key=lambda t: t[0]):
        while points and points[-1] is None:
            points.pop()
        if sum(p is not None for p in points) >= _SHORTEST:
            result.append(TrueFace(start, smooth(_interpolated(points))))
    return result


def _nearest(last: FloatArray, landmarks: FloatArray, taken: set[int]) -> int | None:
    free = [f for f in range(len(landmarks)) if f not in taken]
    if not free:
        return None
    distances = [float(np.linalg.norm(landmarks[f].mean(0) - last.mean(0))) for f in free]
    best = int(np.argmin(distances))
    return free[best] if distances[best] < _NEAR * face_width(last) else None


def _interpolated(landmarks: Sequence[FloatArray | None]) -> npt.NDArray[np.float64]:
    known = [i for i, p in enumerate(landmarks) if p is not None]
    points = np.stack([p for p in landmarks if p is not None]).astype(np.float64).reshape(len(known), 10)
    frames = np.arange(len(landmarks))
    return np.stack([np.interp(frames, known, column) for column in points.T], 1).reshape(-1, 5, 2)
