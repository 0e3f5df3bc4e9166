"""A face that was lost and comes back is the same face again: after a cut away, or from behind somebody."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from likeness.errors import ConfigError
from likeness.types import FloatArray

_MOST = 64  # faces remembered, however long the clip
_NEW = 0.3  # weight of a new view against those before


@dataclass
class ReentryConfig:
    """Who is taken for whom.

    Attributes:
        distance: of the face embedder, up to which a new face is one that was lost; dlib's same person lies below .6,
            but poor faces lie closer together. 0 takes every new face for a new one.
        forget: seconds after which a lost face is forgotten.
    """

    distance: float = 0.4
    forget: float = 20.0

    def __post_init__(self) -> None:
        if self.distance < 0 or self.forget < 0:
            raise ConfigError(
                f"video.reentry: got distance={self.distance}, forget={self.forget}; expected both from 0 up"
            )


@dataclass(frozen=True)
class Known:
    """A face that was seen.

    Attributes:
        id: of its track.
        embedding: (D,), a running mean over detections.
        time: when it was seen last, in seconds.
    """

    id: int
    embedding: FloatArray
    time: Fraction


def returned(
    fresh: Mapping[int, FloatArray], known: Sequence[Known], active: Collection[int], config: ReentryConfig
) -> dict[int, int]:
    """Which of the new faces are known ones; nearest first, each at most once.

    Args:
        fresh: provisional number of each new track to its (D,) embedding.
        known: faces seen so far.
        active: numbers of the tracks that go on; nobody is in two places.
        config: how near is near.

    Returns:
        Provisional number to the known one.
    """
    lost = [k for k in known if k.id not in active]
    pairs = sorted(
        (float(np.linalg.norm(embedding - k.embedding)), number, k.id)
        for number, embedding in fresh.items()
        for k in lost
    )
    found: dict[int, int] = {}
    for apart, number, old in pairs:
        if apart < config.distance and number not in found and old not in found.values():
            found[number] = old
    return found


def remember(
    known: Sequence[Known], seen: Mapping[int, FloatArray], now: Fraction, config: ReentryConfig
) -> tuple[Known, ...]:
    """The faces known after a detection: those seen are brought up to date, those long lost forgotten.

    Args:
        known: before.
        seen: number to (D,) embedding.
        now: time of the frame.
        config: how long a lost face is kept.
    """
    kept = {k.id: k for k in known if k.id in seen or now - k.time <= config.forget}
    for number, embedding in seen.items():
        before = kept.get(number)
        mean = embedding if before is None else before.embedding + np.float32(_NEW) * (embedding - before.embedding)
        kept[number] = Known(number, mean, now)
    latest = sorted(kept.values(), key=lambda k: (k.time, k.id))
    return tuple(latest[-_MOST:])
