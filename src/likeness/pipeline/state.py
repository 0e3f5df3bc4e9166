"""The data between the stages: a face after each of them, a frame's result, and what a clip remembers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import Any, TypeVar

import torch

from likeness.nets.face_embedder import FaceEmbedder
from likeness.nets.gate import Gate
from likeness.nets.obstructions import ObstructionNet
from likeness.pipeline.config import RestorerConfig
from likeness.stages.background.base import Background, BackgroundPlan, Progress
from likeness.stages.background.lanczos import Lanczos
from likeness.stages.detect.base import Detector
from likeness.stages.identity import GuardBounds, Recogniser
from likeness.stages.profile import QualityFit
from likeness.stages.restore.base import Expert
from likeness.stages.route import RouteBounds
from likeness.stages.temporal.propagation import Pace
from likeness.stages.temporal.reid import GalleryEntry
from likeness.stages.temporal.state import BlendState, TrackState
from likeness.types import Crop, Decision, FaceProfile, Faces, FloatArray, Mask, MediaKind, Pixels, Restored, Verdict


@dataclass(frozen=True)
class Models:
    """The loaded networks and fitted bounds; shared by all threads, never written to.

    Attributes:
        embedder: gives the distance in every record.
        recogniser: the guard's, for which the bounds were fitted: the embedder, or one of the user's.
        quality: gives the quality of a face's profile.
        gate: chooses between the experts; None = the rule does.
        obstructions: marks what lies over a face; None where no option needs it.
        hashes: sha256 of every weight file by its name.
    """

    detector: Detector
    experts: Mapping[str, Expert]
    embedder: FaceEmbedder
    recogniser: Recogniser
    guard_bounds: GuardBounds
    route_bounds: RouteBounds
    quality: QualityFit
    background: Background = field(default_factory=Lanczos)
    gate: Gate | None = None
    obstructions: ObstructionNet | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """What stays the same for all frames of a file.

    Attributes:
        models: the networks.
        config: all options.
        kind: photos have no memory; it also decides between Poisson and feathered compositing.
        upscale: 1, 2 or 4.
        progress: of the background of a photo, in tiles.
    """

    models: Models
    config: RestorerConfig
    kind: MediaKind
    upscale: int
    progress: Progress | None = None

    @property
    def temporal(self) -> bool:
        """Whether faces are tracked over frames."""
        return self.kind != "photo"


class Clock:
    """Adds up seconds by stage; one per frame, so threads do not share it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times the block under `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)

    def add(self, name: str, seconds: float) -> None:
        """Adds to a stage."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds


@dataclass(frozen=True)
class FrameContext:
    """What all steps of one frame share.

    Attributes:
        pixels: HWC uint8 or uint16, not changed.
        detected: whether the detector ran; else the last assessments hold.
        file: what stays the same over the file's frames.
        clock: of this frame.
        every: frames from one restoration of a face to the next; 1 = all are restored.
        damage: (H, W), pixels that `repair` filled; None = none.
    """

    pixels: Pixels
    detected: bool
    file: Context
    clock: Clock
    every: int = 1
    damage: Mask | None = None


@dataclass(frozen=True, kw_only=True)
class DetectedFace:
    """A face after detection and tracking.

    Attributes:
        number: its rank by size in the frame, 0 = largest.
        face: box, score and landmarks.
        points: (5, 2), by which it is aligned: its landmarks, smoothed over time in clips.
        track: in clips.
        doubt: why its landmarks are implausible; empty: they are plausible.
        milliseconds: spent on this face so far.
        notes: for the report.
    """

    number: int
    face: Faces
    points: FloatArray
    track: TrackState | None = None
    doubt: str = ""
    milliseconds: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AlignedFace(DetectedFace):
    """After alignment.

    Attributes:
        crop: at 256 pixels.
    """

    crop: Crop


@dataclass(frozen=True, kw_only=True)
class MeasuredFace(AlignedFace):
    """After measuring.

    Attributes:
        embedding: (D,) of the crop; None where no step before the guard reads it.
    """

    profile: FaceProfile
    embedding: torch.Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class RoutedFace(MeasuredFace):
    """After routing; the last state of a face that no expert restores.

    Attributes:
        gain: in clips, the exposure gain, smooth over the track.
        unknown: pixels of the crop that are to be filled; None = none.
    """

    decision: Decision
    gain: float | None = None
    unknown: Mask | None = None


@dataclass(frozen=True, kw_only=True)
class RestoredFace(RoutedFace):
    """After its expert ran, or its last result was propagated.

    Attributes:
        expert_crop: the expert's input: `crop`, or one of another size.
        restored: the result; its image changes as it is reduced and blended.
        frames_since_restore: 0 where the expert ran in this frame.
        blend: for the next frame.
    """

    expert_crop: Crop
    restored: Restored
    frames_since_restore: int = 0
    blend: BlendState | None = None


@dataclass(frozen=True, kw_only=True)
class GuardedFace(RestoredFace):
    """After the identity guard: ready to be pasted.

    Attributes:
        verdict: None with the guard off.
        alpha: fraction of the restored face that is used.
        final: (S, S, 3) float32, the face to paste; None where nothing of it is used.
        distance: of the embedder, between the input's crop and `final`; None where it was not measured.
        final_embedding: (128,) of `final`, along with `distance`.
    """

    verdict: Verdict | None
    alpha: float
    final: FloatArray | None
    distance: float | None = None
    final_embedding: FloatArray | None = None


After = TypeVar("After", bound=DetectedFace)


def promote(face: DetectedFace, to: type[After], **more: Any) -> After:
    """The same face after the next stage, with that stage's fields."""
    return to(**{f.name: getattr(face, f.name) for f in fields(face)} | more)


def pasted(face: RoutedFace) -> GuardedFace | None:
    """The face if it, or a part of it, was pasted; None where the background's pixels stand."""
    return face if isinstance(face, GuardedFace) and face.final is not None else None


@dataclass(frozen=True)
class FrameResult:
    """A restored frame.

    Attributes:
        pixels: HWC, enlarged.
        faces: largest first; those that an expert restored are `GuardedFace`s.
        background: what was done to the background.
        seconds: by stage.
        invented: fraction of the frame's pixels that `repair` filled, 0..1.
    """

    pixels: Pixels
    faces: tuple[RoutedFace, ...]
    background: BackgroundPlan
    seconds: Mapping[str, float] = field(default_factory=dict)
    invented: float = 0.0


@dataclass(frozen=True)
class LastFrame:
    """What is kept of a clip's last frame: its pixels, time, grey picture, thumbnail and result."""

    pixels: Pixels
    time: Fraction
    grey: Pixels
    thumbnail: FloatArray
    result: FrameResult


@dataclass(frozen=True)
class ClipState:
    """What a clip remembers from frame to frame; every frame makes a new one, and its size does not grow.

    Attributes:
        tracks: the faces of the last frame.
        gallery: faces seen lately, for re-identification.
        last: None before the first frame.
        frames_since_detection: 0 right after one.
        next_id: next free track number.
        pace: what the last frames cost, for `video.target_fps`.
    """

    tracks: tuple[TrackState, ...] = ()
    gallery: tuple[GalleryEntry, ...] = ()
    last: LastFrame | None = None
    frames_since_detection: int = 0
    next_id: int = 0
    pace: Pace = field(default_factory=Pace)
