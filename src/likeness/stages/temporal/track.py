"""Tracks: which face of this frame is which face of the last one, and where it is between detections."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from likeness.errors import ConfigError
from likeness.media.video_encoding import EFFORTS
from likeness.stages.temporal.carry import CarryConfig
from likeness.stages.temporal.flow import carry
from likeness.stages.temporal.fuse import FuseConfig
from likeness.stages.temporal.reentry import ReentryConfig
from likeness.stages.temporal.smooth import SmoothConfig
from likeness.types import Faces, FloatArray, Pixels


@dataclass
class VideoConfig:
    """Detection and holding over time.

    Attributes:
        detect_every: frames between two detections.
        cut: mean difference of thumbnails, in grey levels, that counts as a cut.
        match: least overlap (IoU) of a detection with a track.
        ramp: frames over which a changed guard or a new face is faded in.
        hysteresis: how far a track's figures must pass beyond a bound before its route changes: a share of the bound
            of width and quality, a probability beyond `sure` for the gate.
        sure: 0..1, how probable the gate must find it that Expert-T is the better one, where `pipeline.sure` is for
            photos. Lower, as it underrates Expert-T on frames of encoded films (experiments/gate/README.md).
        reentry: when a new face is one that was lost.
        smooth: how steadily a face is aligned.
        fuse: how much of its last frame stays in a restored face.
        batch: frames whose faces go to the experts together; they are written that much later. Only where no frame
            waits for the one before: without fusing, carrying, pooling and holding.
        effort: fast, medium or slow: how long the encoder of a video searches, at the same crf.
        carry: which of its frames are restored, and which carry on what was added to the last one.
        reduce: 0..1; a face whose crop covers a smaller share of its edge in pixels of the output is fused, carried and
            pasted at the crop's size, not at the twice as large one of the expert: a quarter of the work, for 2 to 9 %
            of the sharpness. 0 = never.
    """

    detect_every: int = 5
    cut: float = 28.0
    match: float = 0.3
    ramp: int = 10
    hysteresis: float = 0.1
    batch: int = 1
    effort: str = "medium"
    reduce: float = 0.0
    sure: float = 0.5
    reentry: ReentryConfig = field(default_factory=ReentryConfig)
    smooth: SmoothConfig = field(default_factory=SmoothConfig)
    fuse: FuseConfig = field(default_factory=FuseConfig)
    carry: CarryConfig = field(default_factory=CarryConfig)

    def __post_init__(self) -> None:
        if self.effort not in EFFORTS:
            raise ConfigError(f"video.effort: got {self.effort!r}, expected {', '.join(EFFORTS)}")
        if self.batch < 1 or (self.batch > 1 and (self.fuse.share > 0 or self.carry.every > 1)):
            raise ConfigError(
                f"video.batch: got {self.batch} with fuse.share={self.fuse.share} and carry.every={self.carry.every}; "
                "expected 1 up, and above 1 only with video.fuse.share=0 and video.carry.every=1, where no frame waits "
                "for the last one"
            )
        if not 0 <= self.reduce <= 1:
            raise ConfigError(f"video.reduce: got {self.reduce}, expected a share from 0 to 1")
        if not 0 <= self.sure <= 1:
            raise ConfigError(f"video.sure: got {self.sure}, expected a probability from 0 to 1")
        if self.detect_every < 1 or self.ramp < 1 or self.cut <= 0 or not 0 < self.match < 1 or self.hysteresis < 0:
            raise ConfigError(
                f"video: got detect_every={self.detect_every}, ramp={self.ramp}, cut={self.cut}, match={self.match}, "
                f"hysteresis={self.hysteresis}; expected at least 1, 1, above 0, between 0 and 1, at least 0"
            )


@dataclass(frozen=True)
class Track:
    """One face over time.

    Attributes:
        id: number within the clip, from 0.
        landmarks: (5, 2) where they are now.
        box: (4,) xyxy, moved along.
        score: of the last detection.
        pending: (5, 2) correction from the last detection that is still to be applied.
        due: over how many frames.
        age: frames since it appeared.
        missed: detections in a row that did not find it.
    """

    id: int
    landmarks: FloatArray
    box: FloatArray
    score: float
    pending: FloatArray = field(default_factory=lambda: np.zeros((5, 2), np.float32))
    due: int = 0
    age: int = 0
    missed: int = 0

    def moved(self, landmarks: FloatArray) -> Track:
        """The track at new landmarks, its box shifted by their mean motion."""
        shift = landmarks.mean(0) - self.landmarks.mean(0)
        return replace(self, landmarks=landmarks, box=(self.box + np.tile(shift, 2)).astype(np.float32))


def follow(tracks: list[Track], before: Pixels, now: Pixels) -> list[Track]:
    """Carries tracks to the next grey frame; those that the flow loses are dropped.

    Part of the pending correction is applied in each frame: corrected at once, a face would jump at
    every detection.
    """
    kept = []
    for track in tracks:
        width = 2 * float(np.linalg.norm(track.landmarks[1] - track.landmarks[0]))
        landmarks = carry(before, now, track.landmarks, max(width, 12.0))
        if landmarks is None:
            continue
        if track.due > 0:
            step = track.pending / track.due
            landmarks = (landmarks + step).astype(np.float32)
            track = replace(track, pending=(track.pending - step).astype(np.float32), due=track.due - 1)
        kept.append(replace(track.moved(landmarks), age=track.age + 1))
    return kept


def associate(tracks: list[Track], faces: Faces, config: VideoConfig, next_id: int) -> tuple[list[Track], int]:
    """Joins the faces of a detection to the tracks by overlap, best first; the rest become new tracks.

    A track that two detections in a row did not find ends.

    Returns:
        The tracks, and the next free number.
    """
    overlaps = iou(np.array([t.box for t in tracks]).reshape(-1, 4), faces.boxes)
    pairs: dict[int, int] = {}
    while overlaps.size and overlaps.max() >= config.match:
        t, f = divmod(int(overlaps.argmax()), overlaps.shape[1])
        pairs[t] = f
        overlaps[t, :] = -1
        overlaps[:, f] = -1
    result = []
    for t, track in enumerate(tracks):
        if t in pairs:
            f = pairs[t]
            correction = (faces.landmarks[f] - track.landmarks).astype(np.float32)
            result.append(
                replace(
                    track, box=faces.boxes[f], score=float(faces.scores[f]), pending=correction,
                    due=config.detect_every, missed=0,
                )
            )  # fmt: skip
        elif track.missed < 1:
            result.append(replace(track, missed=track.missed + 1))
    for f in range(len(faces)):
        if f not in pairs.values():
            result.append(Track(next_id, faces.landmarks[f], faces.boxes[f], float(faces.scores[f])))
            next_id += 1
    return result, next_id


def iou(a: FloatArray, b: FloatArray) -> FloatArray:
    """Intersection over union of (N, 4) and (M, 4) xyxy boxes, (N, M)."""
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    overlap = np.clip(bottom_right - top_left, 0, None).prod(2)
    area_a, area_b = ((x[:, 2:] - x[:, :2]).prod(1) for x in (a, b))
    return np.asarray(overlap / np.maximum(area_a[:, None] + area_b[None] - overlap, 1e-6), np.float32)
