"""What the pipeline carries: its networks, what a track remembers, what became of a face and of a frame."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from likeness.nets.face_embedder import FaceEmbedder
from likeness.nets.gate import Gate
from likeness.stages.background import Background
from likeness.stages.background import enlarge as lanczos
from likeness.stages.detect.base import Detector
from likeness.stages.identity import GuardBounds, Recogniser
from likeness.stages.restore.base import Expert
from likeness.stages.route import RouteBounds
from likeness.stages.temporal.fuse import Memory
from likeness.types import Before, Crop, Decision, Faces, FloatArray, Pixels, Profile, Restored, Verdict


@dataclass(frozen=True)
class Models:
    """The loaded networks and fitted bounds; shared by all threads, never written to.

    Attributes:
        embedder: gives the distance in every record.
        recogniser: the guard's, where the bounds are fitted to it: the same, or one of the user's own.
        gate: chooses between the experts; None = the rule does.
        hashes: sha256 of every weight file by its name.
    """

    detector: Detector
    experts: Mapping[str, Expert]
    embedder: FaceEmbedder
    recogniser: Recogniser
    guard_bounds: GuardBounds
    route_bounds: RouteBounds
    background: Background = lanczos
    gate: Gate | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Held:
    """What a track keeps between detections.

    Attributes:
        decision, profile, verdict: of the last detection.
        share: how much of the restored face was used last, ramped; None where it was not restored yet.
        memory: the last restored face, for fusion over time and for frames between.
        past: what its expert keeps of it.
        since: frames since its expert ran.
        gain: of its exposure in the last frame; None where no expert was to run.
    """

    decision: Decision
    profile: Profile
    verdict: Verdict | None
    share: float | None = None
    memory: Memory | None = None
    past: Any = None
    since: int = 0
    gain: float | None = None


@dataclass(frozen=True)
class FaceResult:
    """Everything about one face of one frame.

    Attributes:
        crop: at 256 pixels, what was measured.
        seen: what the expert read: the same, or a crop of its own size; None where no expert ran.
        final: what was pasted, None where nothing was: no expert ran, or nothing of it was to be used.
        distance: of the embedder, between the input's crop and what was used; None where it was not measured.
        embedding: (128,) of what was used, along with `distance`.
        memory: what the face's track keeps for the next frame.
        since: frames since its expert ran; above 0 what it added then was carried along.
        gain: in clips, of its exposure, smooth over the track; None where no expert runs.
    """

    face: Faces
    crop: Crop
    profile: Profile
    decision: Decision
    verdict: Verdict | None = None
    distance: float | None = None
    seen: Crop | None = None
    restored: Restored | None = None
    final: FloatArray | None = None
    share: float = 0.0
    milliseconds: float = 0.0
    notes: tuple[str, ...] = ()
    track: int | None = None
    embedding: FloatArray | None = None
    memory: Memory | None = None
    since: int = 0
    gain: float | None = None


@dataclass(frozen=True)
class FrameResult:
    """A restored frame (enlarged), its faces, and seconds by stage."""

    pixels: Pixels
    faces: tuple[FaceResult, ...]
    seconds: Mapping[str, float] = field(default_factory=dict)


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
class Waiting:
    """A frame whose faces wait for their experts.

    Attributes:
        pixels: HWC.
        faces: as `look` gave them.
        befores: one for each, in clips.
        clock: adds to it.
    """

    pixels: Pixels
    faces: Sequence[FaceResult]
    befores: Sequence[Before] | None
    clock: Clock
