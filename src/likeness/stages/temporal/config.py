"""Options for clips."""

from __future__ import annotations

from dataclasses import dataclass, field

from likeness.errors import ConfigError
from likeness.media.video_encoding import EFFORTS
from likeness.stages.temporal.blending import BlendConfig
from likeness.stages.temporal.frame_rate import FrameRate
from likeness.stages.temporal.interpolation import INTERPOLATORS
from likeness.stages.temporal.propagation import Pace, PropagateConfig
from likeness.stages.temporal.reid import ReidConfig
from likeness.stages.temporal.smoothing import SmoothConfig


@dataclass
class VideoConfig:
    """Detection, tracking and steadiness over time.

    Attributes:
        detect_every: frames between two detections.
        cut: mean difference of two thumbnails, in grey levels, from which a new shot begins.
        match: smallest overlap (IoU) of a detection with its track.
        ramp: frames over which a new face, or a new verdict of the guard, is faded in.
        hysteresis: margin beyond a bound before a track changes its route: a fraction of the bound for width and
            quality, a probability for the gate.
        effort: fast, medium or slow: encoding time of a video, at the same crf.
        reduce: 0..1; where the crop covers a smaller fraction of its edge in output pixels, the restored face is
            blended, propagated and pasted at the crop's size instead of twice that size: a quarter of the work for 2
            to 9 % of the sharpness. 0 = never.
        target_fps: frames a second that restoring should reach, without reading and writing. Where it does not, the
            experts run less often than `propagate.every` says, at least on every twelfth frame of a face, and results
            depend on the machine's speed. 0 = none.
        fps: frame rate of a restored video, such as 60, 30000/1001 or 2x; pictures between two frames are interpolated,
            but not across cuts. Empty = the source's.
        interpolator: splat (moves both frames along the optical flow) or average (mixes them).
    """

    detect_every: int = 5
    cut: float = 28.0
    match: float = 0.3
    ramp: int = 10
    hysteresis: float = 0.1
    effort: str = "medium"
    reduce: float = 0.0
    target_fps: float = 0.0
    fps: str = ""
    interpolator: str = "splat"
    reid: ReidConfig = field(default_factory=ReidConfig)
    smooth: SmoothConfig = field(default_factory=SmoothConfig)
    blend: BlendConfig = field(default_factory=BlendConfig)
    propagate: PropagateConfig = field(default_factory=PropagateConfig)

    @property
    def propagates(self) -> bool:
        """Whether residuals of older frames may be used."""
        return self.propagate.every > 1 or self.target_fps > 0

    def cadence(self, pace: Pace) -> int:
        """A face is restored on every how many frames."""
        return max(self.propagate.every, pace.every(self.target_fps)) if self.target_fps else self.propagate.every

    def __post_init__(self) -> None:
        INTERPOLATORS[self.interpolator]  # raises for an unknown name
        if self.fps:
            FrameRate.parse(self.fps)
        if self.effort not in EFFORTS:
            raise ConfigError(f"video.effort: got {self.effort!r}, expected {', '.join(EFFORTS)}")
        if not 0 <= self.target_fps <= 1000:
            raise ConfigError(f"video.target_fps: got {self.target_fps}, expected 0 or up to 1000 frames a second")
        if not 0 <= self.reduce <= 1:
            raise ConfigError(f"video.reduce: got {self.reduce}, expected a fraction from 0 to 1")
        if self.detect_every < 1 or self.ramp < 1 or self.cut <= 0 or not 0 < self.match < 1 or self.hysteresis < 0:
            raise ConfigError(
                f"video: got detect_every={self.detect_every}, ramp={self.ramp}, cut={self.cut}, match={self.match}, "
                f"hysteresis={self.hysteresis}; expected at least 1, 1, above 0, between 0 and 1, at least 0"
            )
