"""Best shots: the clearest pictures of each face of a clip, by the quality of its profile."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from likeness.media.files import atomic_output
from likeness.media.image_writer import write_image
from likeness.media.images import ImageMeta
from likeness.media.naming import OutputNames
from likeness.ops.geometry import invert, rescale_points, transform
from likeness.pipeline.report_types import ShotRecord
from likeness.pipeline.state import FrameResult, RoutedFace, pasted
from likeness.types import Frame, Pixels

PEOPLE = 24  # faces of which shots are kept; crowds and long films would fill the memory
APART = 1.0  # seconds between two shots of a face, which would otherwise show the same moment


@dataclass(frozen=True)
class Shot:
    """A head cut out of a restored frame.

    Attributes:
        quality: of the face before it was restored.
        frame, time: number and seconds of the frame.
        pixels: HWC, upright as in the frame.
        restored: whether a network made part of it.
    """

    quality: float
    frame: int
    time: float
    pixels: Pixels
    restored: bool


@dataclass
class BestShots:
    """The best shots of each face so far; its size does not grow with the clip.

    Attributes:
        count: that are kept of each face.
        shots: best first, by the face's track.
    """

    count: int
    shots: dict[int, list[Shot]] = field(default_factory=dict)

    def add(self, frame: Frame, result: FrameResult) -> None:
        """Takes the faces of a frame that were profiled in it; between two detections of a clip none is."""
        for face in result.faces:
            if self.count == 0 or face.track is None or face.doubt or not _profiled(face):
                continue
            if face.track.id in self.shots or len(self.shots) < PEOPLE:
                kept = self.shots.setdefault(face.track.id, [])
                self.shots[face.track.id] = self._with(kept, face, frame, result.pixels)

    def _with(self, kept: list[Shot], face: RoutedFace, frame: Frame, restored: Pixels) -> list[Shot]:
        quality, time = face.profile.quality, float(frame.time)
        near = [shot for shot in kept if abs(shot.time - time) < APART]
        if any(shot.quality >= quality for shot in near):
            return kept
        others = [shot for shot in kept if abs(shot.time - time) >= APART]
        if len(others) == self.count and others[-1].quality >= quality:
            return kept
        picture = _head(face, restored, restored.shape[1] / frame.pixels.shape[1])
        shot = Shot(quality, frame.index, time, picture, pasted(face) is not None)
        return sorted([*others, shot], key=lambda s: -s.quality)[: self.count]

    def write(self, names: OutputNames, label: bool) -> dict[int, list[ShotRecord]]:
        """Writes all shots as PNG beside the result.

        Args:
            names: of the result.
            label: whether restored shots say in their XMP that a network made part of them.

        Returns:
            The records by track, best first.

        Raises:
            OutputError: if a file cannot be written.
        """
        records: dict[int, list[ShotRecord]] = {}
        for track, shots in self.shots.items():
            records[track] = []
            for rank, shot in enumerate(shots, 1):
                path = names.shot(track, rank)
                with atomic_output(path) as partial:
                    write_image(partial, Frame(shot.pixels), ImageMeta(), label and shot.restored)
                records[track].append(_record(path, shot))
        return records


def _record(path: Path, shot: Shot) -> ShotRecord:
    return {"file": str(path), "frame": shot.frame, "time": shot.time, "quality": round(shot.quality, 4)}


def _profiled(face: RoutedFace) -> bool:
    """Whether its profile is of this frame, and not of its track's last detection."""
    last = face.track and face.track.assessment
    return not last or face.profile is not last.profile


def _head(face: RoutedFace, pixels: Pixels, upscale: float) -> Pixels:
    """The part of an enlarged frame under a face's crop, a copy."""
    edge = face.crop.size - 1
    corners = transform(invert(face.crop.matrix), np.array([[0, 0], [edge, 0], [0, edge], [edge, edge]]))
    corners = rescale_points(corners, upscale)
    (height, width), low, high = pixels.shape[:2], corners.min(0), corners.max(0)
    x0, y0 = np.floor(low).astype(int).clip(0, [width - 1, height - 1])
    x1, y1 = np.ceil(high).astype(int).clip([x0 + 1, y0 + 1], [width, height])
    return pixels[y0:y1, x0:x1].copy()
