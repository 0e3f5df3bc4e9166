"""Steady alignment over time: the four parameters of a face's similarity, filtered.

Landmarks wobble by a fraction of a pixel from frame to frame, and an aligned crop with them. The 1-Euro filter (Casiez
et al., CHI 2012) is a low-pass whose cut-off rises with speed: a resting face stays still, a moving one has no lag.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from likeness.errors import ConfigError
from likeness.ops.geometry import EYE_DISTANCE_256, face_width, invert, similarity, template, transform
from likeness.stages.temporal.state import Array, PoseFilter
from likeness.types import FloatArray

_SIZE = 256
_CENTRE = np.array([[127.5, 127.5]])  # of the crop
_SPEED_CUTOFF = 1.0  # hertz, of the low-pass on the speed itself; the paper's value


@dataclass
class SmoothConfig:
    """The filter's parameters.

    Attributes:
        cutoff: hertz; lower is steadier at rest. 0 turns smoothing off.
        response: rise of the cut-off, in hertz per face width (or radian, or doubling) a second.
    """

    cutoff: float = 1.0
    response: float = 20.0

    def __post_init__(self) -> None:
        if self.cutoff < 0 or self.response < 0:
            raise ConfigError(
                f"video.smooth: got cutoff={self.cutoff}, response={self.response}; expected both to be at least 0"
            )


def smooth_pose(
    landmarks: FloatArray, before: PoseFilter | None, seconds: float, config: SmoothConfig
) -> tuple[FloatArray, PoseFilter]:
    """Smooths one face by one frame.

    Args:
        landmarks: (5, 2), detected or tracked.
        before: the last frame's; None at the start of a track and after a cut.
        seconds: since the last frame, above 0.
        config: the filter's parameters.

    Returns:
        Five landmarks whose similarity is the smoothed one, and the filter's new state. At the start their similarity
        is that of `landmarks`; with a cut-off of 0 they are `landmarks`.

    Raises:
        ConfigError: if no time has passed.
    """
    if seconds <= 0:
        raise ConfigError(f"smooth_pose: got {seconds} s since the last frame, expected more than 0")
    unit = before.unit if before else face_width(landmarks)
    values = _values(landmarks, unit)
    if before is None or config.cutoff == 0:
        pose = PoseFilter(values, np.zeros(4), unit)
        return (_landmarks(pose) if config.cutoff else landmarks), pose
    change = values - before.values
    change[2] = math.remainder(change[2], 2 * math.pi)  # the short way around
    speed = before.speed + _weight(_SPEED_CUTOFF, seconds) * (change / seconds - before.speed)
    weights = np.array([_weight(config.cutoff + config.response * abs(float(s)), seconds) for s in speed])
    pose = PoseFilter(before.values + weights * change, speed, unit)
    return _landmarks(pose), pose


def _weight(cutoff: float, seconds: float) -> float:
    """Weight of a new value in a first-order low-pass (Casiez et al. 2012, eq. 3 and 5)."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff * seconds))


def _values(landmarks: FloatArray, unit: float) -> Array:
    back = invert(similarity(landmarks, _SIZE))
    (centre,) = transform(back, _CENTRE)
    scale = float(np.hypot(back[0, 0], back[1, 0]))
    width = 2 * EYE_DISTANCE_256 * scale
    return np.array([*(centre / unit), math.atan2(back[1, 0], back[0, 0]), math.log2(width / unit)])


def _landmarks(pose: PoseFilter) -> FloatArray:
    scale = pose.unit * 2 ** pose.values[3] / (2 * EYE_DISTANCE_256)
    c, s = scale * math.cos(pose.values[2]), scale * math.sin(pose.values[2])
    linear = np.array([[c, -s], [s, c]])
    offset = pose.values[:2] * pose.unit - linear @ _CENTRE[0]
    return (template(_SIZE) @ linear.T + offset).astype(np.float32)
