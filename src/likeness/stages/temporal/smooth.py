"""Steady alignment over time: the four parameters of a face's similarity, filtered.

Landmarks wobble by a fraction of a pixel from frame to frame, and a restored face with them. The 1-Euro filter
(Casiez et al., CHI 2012) is a low-pass whose cut-off rises with speed: a face at rest lies still, one that moves is
followed without lag.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from likeness.errors import ConfigError
from likeness.ops.geometry import EYE_DISTANCE_256, invert, similarity, template, transform
from likeness.types import FloatArray

Array = npt.NDArray[np.float64]
_SIZE = 256
_CENTRE = np.array([[127.5, 127.5]])  # of the crop
_SPEED_CUTOFF = 1.0  # hertz, of the low-pass on the speed itself; the paper's value


@dataclass
class SmoothConfig:
    """How steady and how quick.

    Attributes:
        cutoff: hertz; lower is steadier at rest. 0 smooths nothing.
        response: how much the cut-off rises, in hertz per face width (or radian, or doubling) a second.
    """

    cutoff: float = 1.0
    response: float = 20.0

    def __post_init__(self) -> None:
        if self.cutoff < 0 or self.response < 0:
            raise ConfigError(
                f"video.smooth: got cutoff={self.cutoff}, response={self.response}; expected both from 0 up"
            )


@dataclass(frozen=True)
class Pose:
    """Where a face lies in its frame, and how fast that changes.

    Attributes:
        values: (4,) x and y of the crop's centre in face widths of the first frame, angle in radians, log2 of the
            width in the same unit.
        speed: (4,) the same a second, low-passed.
        unit: face width of the first frame in pixels.
    """

    values: Array
    speed: Array
    unit: float


def steady(landmarks: FloatArray, before: Pose | None, seconds: float, config: SmoothConfig) -> tuple[FloatArray, Pose]:
    """Smooths one face by one frame.

    Args:
        landmarks: (5, 2) as found or followed.
        before: what the last frame left; None at the start of a track and after a cut.
        seconds: since the last frame, above 0.
        config: how steady.

    Returns:
        Five landmarks whose similarity is the smoothed one (the template's, put into the frame), and what to remember.
        At the start their similarity is that of the landmarks given; with a cut-off of 0 they are those given.

    Raises:
        ConfigError: if no time has passed.
    """
    if seconds <= 0:
        raise ConfigError(f"steady: got {seconds} s since the last frame, expected more than 0")
    unit = before.unit if before else _width(landmarks)
    found = _pose(landmarks, unit)
    if before is None or config.cutoff == 0:
        pose = Pose(found, np.zeros(4), unit)
        return (_landmarks(pose) if config.cutoff else landmarks), pose
    change = found - before.values
    change[2] = math.remainder(change[2], 2 * math.pi)  # the short way around
    speed = before.speed + _share(_SPEED_CUTOFF, seconds) * (change / seconds - before.speed)
    shares = np.array([_share(config.cutoff + config.response * abs(float(s)), seconds) for s in speed])
    pose = Pose(before.values + shares * change, speed, unit)
    return _landmarks(pose), pose


def _share(cutoff: float, seconds: float) -> float:
    """Weight of a new value in a first-order low-pass (Casiez et al. 2012, eq. 3 and 5)."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff * seconds))


def _width(landmarks: FloatArray) -> float:
    return 2 * EYE_DISTANCE_256 / float(np.hypot(*similarity(landmarks, _SIZE)[:, 0]))


def _pose(landmarks: FloatArray, unit: float) -> Array:
    back = invert(similarity(landmarks, _SIZE))
    (centre,) = transform(back, _CENTRE)
    scale = float(np.hypot(back[0, 0], back[1, 0]))
    width = 2 * EYE_DISTANCE_256 * scale
    return np.array([*(centre / unit), math.atan2(back[1, 0], back[0, 0]), math.log2(width / unit)])


def _landmarks(pose: Pose) -> FloatArray:
    scale = pose.unit * 2 ** pose.values[3] / (2 * EYE_DISTANCE_256)
    c, s = scale * math.cos(pose.values[2]), scale * math.sin(pose.values[2])
    linear = np.array([[c, -s], [s, c]])
    offset = pose.values[:2] * pose.unit - linear @ _CENTRE[0]
    return (template(_SIZE) @ linear.T + offset).astype(np.float32)
