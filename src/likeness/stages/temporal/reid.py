"""Re-identification: a face that was lost and returns, after a cut or from behind somebody, keeps its track number."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from likeness.errors import ConfigError
from likeness.stages.temporal.state import Assessment
from likeness.types import FloatArray

_MOST = 64  # faces remembered, however long the clip
_NEW = 0.3  # weight of a new embedding in the running mean


@dataclass
class ReidConfig:
    """When a new face counts as a lost one.

    Attributes:
        distance: largest distance of the face embedder. For dlib the same person lies below 0.6, but poor faces lie
            closer together. 0 turns re-identification off.
        forget: seconds after which a lost face is forgotten.
    """

    distance: float = 0.4
    forget: float = 20.0

    def __post_init__(self) -> None:
        if self.distance < 0 or self.forget < 0:
            raise ConfigError(
                f"video.reid: got distance={self.distance}, forget={self.forget}; expected both to be at least 0"
            )


@dataclass(frozen=True)
class GalleryEntry:
    """A face seen lately.

    Attributes:
        id: of its track.
        embedding: (D,), a running mean over detections.
        time: when it was last seen, in seconds.
        assessment: of its last detection.
    """

    id: int
    embedding: FloatArray
    time: Fraction
    assessment: Assessment | None = None


def match_lost(
    new: Mapping[int, FloatArray], gallery: Sequence[GalleryEntry], active: Collection[int], config: ReidConfig
) -> dict[int, int]:
    """Matches new faces to lost ones, nearest first, each at most once.

    Args:
        new: provisional track number to (D,) embedding.
        gallery: faces seen lately.
        active: numbers of the tracks that go on, which cannot return.
        config: the largest distance.

    Returns:
        Provisional number to the number in the gallery.
    """
    lost = [entry for entry in gallery if entry.id not in active]
    pairs = sorted(
        (float(np.linalg.norm(embedding - entry.embedding)), number, entry.id)
        for number, embedding in new.items()
        for entry in lost
    )
    matches: dict[int, int] = {}
    for distance, number, old in pairs:
        if distance < config.distance and number not in matches and old not in matches.values():
            matches[number] = old
    return matches


def update_gallery(
    gallery: Sequence[GalleryEntry], embeddings: Mapping[int, FloatArray], now: Fraction, config: ReidConfig
) -> tuple[GalleryEntry, ...]:
    """The gallery after a detection: visible faces are updated, faces lost for too long are forgotten.

    Args:
        gallery: before.
        embeddings: track number to (D,), of the visible faces.
        now: time of the frame.
        config: how long a lost face is kept.
    """
    kept = {entry.id: entry for entry in gallery if entry.id in embeddings or now - entry.time <= config.forget}
    for number, embedding in embeddings.items():
        before = kept.get(number)
        mean = embedding if before is None else before.embedding + np.float32(_NEW) * (embedding - before.embedding)
        kept[number] = GalleryEntry(number, mean, now, before.assessment if before else None)
    latest = sorted(kept.values(), key=lambda entry: (entry.time, entry.id))
    return tuple(latest[-_MOST:])
