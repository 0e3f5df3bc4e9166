"""The identity guard: a recogniser compares every restored face with its input, and limits the difference."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from likeness.errors import ConfigError, WeightsError
from likeness.ops.geometry import mix
from likeness.ops.resize import resize
from likeness.ops.tensors import to_tensor
from likeness.types import FloatArray, Verdict

_ALPHAS = (1.0, 0.85, 0.7, 0.55, 0.4, 0.25, 0.1, 0.0)


@dataclass
class GuardConfig:
    """How strict the guard is.

    Attributes:
        enabled: compare and limit.
        strictness: the calibrated bound is divided by it; above 1 limits earlier.
        recogniser: an ONNX file that replaces the embedder (ArcFace's input: 112 x 112 RGB).
            Its bounds are fitted by `likeness.tasks.calibrate recogniser=FILE`.
        every_frame: clips: report the identity distance of every frame; False: of frames with a detection, on which
            the guard decides.
    """

    enabled: bool = True
    strictness: float = 1.0
    recogniser: str = ""
    every_frame: bool = True

    def __post_init__(self) -> None:
        if not 0.1 <= self.strictness <= 10:
            raise ConfigError(f"guard.strictness: got {self.strictness}, expected 0.1 to 10")


class Recogniser(Protocol):
    """Embeds FFHQ-aligned crops, (B, 3, S, S) in [0, 1], to (B, D)."""

    def embed_aligned(self, crop: torch.Tensor) -> torch.Tensor:
        """One view."""
        ...

    def embed_views(self, crop: torch.Tensor) -> torch.Tensor:
        """The mean of several views, which a network trained against one view cannot fool."""
        ...


@dataclass(frozen=True)
class GuardBounds:
    """The identity bound: the largest distance from input to output at which the guard accepts a face.

    Fitted by `likeness.tasks.calibrate`. Even a perfect restoration lies far from a poor input, so the bound depends on
    the input's sharpness.

    Attributes:
        sharpness: knots, ascending; interpolation runs over log(1 + sharpness).
        same95: 95th percentile of d(degraded, clean) of one person.
        other05: 5th percentile of d(degraded, clean) of different people.
    """

    sharpness: Sequence[float]
    same95: Sequence[float]
    other05: Sequence[float]

    def __post_init__(self) -> None:
        n = len(self.sharpness)
        if n < 2 or len(self.same95) != n or len(self.other05) != n or list(self.sharpness) != sorted(self.sharpness):
            raise WeightsError(f"guard bounds: got {n} knots, expected at least two, ascending; run calibrate again")

    def at(self, sharpness: float) -> float | None:
        """The bound at a sharpness, or None where different people lie as close."""
        x = np.log1p(np.asarray(self.sharpness, np.float64))
        same = float(np.interp(np.log1p(sharpness), x, self.same95))
        other = float(np.interp(np.log1p(sharpness), x, self.other05))
        return same if same <= other else None


def read_calibration(path: Path) -> Mapping[str, Any]:
    """Reads a `calibration.json`; WeightsError if it is damaged or of another version."""
    try:
        data: dict[str, Any] = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise WeightsError(
            f"calibration: cannot read {path} ({error}); run `python -m likeness.tasks.calibrate`"
        ) from error
    if data.get("version") != 1 or not {"guard", "route"} <= data.keys():
        raise WeightsError(f"calibration: {path} has version {data.get('version')}, expected 1; run calibrate again")
    return data


def guard_bounds(calibration: Mapping[str, Any]) -> GuardBounds:
    """The guard's bounds out of what `read_calibration` gave."""
    fitted = calibration["guard"]
    return GuardBounds(tuple(fitted["sharpness"]), tuple(fitted["same95"]), tuple(fitted["other05"]))


def embed(recogniser: Recogniser, image: FloatArray, views: int = 4) -> torch.Tensor:
    """(D,) embedding of an aligned (S, S, 3) crop in [0, 1]; the mean of its views, or one view."""
    return embed_all(recogniser, [image], views)[0]


def embed_all(recogniser: Recogniser, images: Sequence[FloatArray], views: int = 4) -> torch.Tensor:
    """(N, D) embeddings of N crops, see `embed`; two cost less than one after the other."""
    x = torch.cat([to_tensor(resize(image, 256, 256)) for image in images])
    with torch.inference_mode():
        return recogniser.embed_views(x) if views == 4 else recogniser.embed_aligned(x)


def embed_both(
    recogniser: Recogniser, crop: FloatArray, final: FloatArray, known: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings of one view of a crop, where it is not `known`, and of the face in its place."""
    if known is not None:
        return known, embed(recogniser, final, 1)
    before, after = embed_all(recogniser, [crop, final], 1)
    return before, after


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """Euclidean distance of two embeddings; below 0.6 dlib calls them one person."""
    return float((a - b).norm())


def guard(
    recogniser: Recogniser, crop: FloatArray, restored: FloatArray, bound: float | None, strictness: float = 1.0
) -> Verdict:
    """Compares input and restored face and finds how much of the restored face may be used.

    Args:
        recogniser: which embeds both.
        crop: (S, S, 3), the input.
        restored: the restored face.
        bound: from `GuardBounds.at`; None leaves the face as it is, "undecided".
        strictness: the bound is divided by it.

    Returns:
        The verdict; the caller applies `mix(crop, restored, verdict.alpha)`.
    """
    before, after = embed_all(recogniser, [crop, restored])
    drift = distance(before, after)
    if bound is None:
        return Verdict("undecided", drift, drift, None, 1.0)
    limit = bound / strictness
    if drift <= limit:
        return Verdict("same", drift, drift, limit, 1.0)
    final = drift
    for alpha in _ALPHAS[1:]:
        final = distance(before, embed(recogniser, mix(crop, restored, alpha)))
        if final <= limit:
            break
    return Verdict("reduced", drift, final, limit, alpha)
