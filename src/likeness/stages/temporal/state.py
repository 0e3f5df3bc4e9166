"""What a clip remembers of a face: one `TrackState`, replaced in every frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from likeness.types import Decision, FaceProfile, FloatArray, Verdict

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PoseFilter:
    """State of the alignment filter (`smoothing`).

    Attributes:
        values: (4,) x and y of the crop's centre in face widths of the first frame, angle in radians, log2 of the
            width in the same unit.
        speed: (4,) their change per second, low-passed.
        unit: face width of the first frame in pixels.
    """

    values: Array
    speed: Array
    unit: float


@dataclass(frozen=True)
class Assessment:
    """Results of the last detection, which hold until the next one.

    Attributes:
        verdict: None where no expert ran, or with the guard off.
    """

    profile: FaceProfile
    decision: Decision
    verdict: Verdict | None = None


@dataclass(frozen=True)
class ExpertState:
    """What the last restored frame leaves to the next one.

    Attributes:
        memory: `Restored.state`, which belongs to the expert.
        frames_since_restore: 0 where the expert ran in the last frame; above, its result was propagated.
        alpha: fraction of the restored face that was used, ramped.
    """

    memory: Any
    frames_since_restore: int
    alpha: float


@dataclass(frozen=True)
class BlendState:
    """The last restored face, for blending and propagation.

    Attributes:
        crop: (N, N, 3) float32 in [0, 1], the expert's input.
        image: (S, S, 3) float32, the restored face.
        confidence: (h, w) float32 in [0, 1]; None where the expert has no such head.
    """

    crop: FloatArray
    image: FloatArray
    confidence: FloatArray | None = None


def _no_correction() -> FloatArray:
    return np.zeros((5, 2), np.float32)


@dataclass(frozen=True)
class TrackState:
    """One face over time.

    Attributes:
        id: number within the clip, from 0.
        landmarks: (5, 2) in the present frame.
        box: (4,) xyxy, moved with the landmarks.
        score: of the last detection.
        doubt: why its landmarks are implausible, by the last detection that tested them; empty: they are plausible.
        look: the second look that found it, which is repeated at the next detections; empty: the first one.
        correction: (5, 2) of the last detection, what is still to be applied of it.
        correction_frames: number of frames over which that happens.
        missed: detections in a row without this face.
        pose: of the alignment; None for a new face.
        opacity: 0..1, below 1 while a face that entered within a shot fades in.
        assessment: None for a new face.
        gain: exposure gain of the last frame; None where no expert was chosen.
        expert, blend: of the last frame; None where the face was not restored.
    """

    id: int
    landmarks: FloatArray
    box: FloatArray
    score: float
    correction: FloatArray = field(default_factory=_no_correction)
    correction_frames: int = 0
    missed: int = 0
    pose: PoseFilter | None = None
    opacity: float = 0.0
    assessment: Assessment | None = None
    gain: float | None = None
    expert: ExpertState | None = None
    blend: BlendState | None = None
    look: str = ""
    doubt: str = ""

    @property
    def last_alpha(self) -> float | None:
        """Fraction of the restored face in the last frame; 0 where the gate left the face alone, None at a start."""
        if self.expert is not None:
            return self.expert.alpha
        return 0.0 if self.assessment is not None and self.assessment.decision.left_alone else None
