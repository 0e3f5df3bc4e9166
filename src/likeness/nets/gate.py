"""The gate: which of the two experts restores this face at lower cost, and whether leaving it alone costs less.

A small perceptron on seven figures that the pipeline measures anyway. It returns two calibrated probabilities: its
logits are divided by temperatures fitted on people it was not trained on (Guo et al., ICML 2017, section 4.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from likeness.errors import ConfigError, InputError
from likeness.types import FloatArray, Profile

FEATURES = ("width", "sharpness", "noise", "blockiness", "norm", "symmetry", "detail")
_LOGARITHMIC = [0, 1, 3, 6]  # these spread over decades
# How probable it must be that Expert-T is the better one. Where both are close, the one that harms a good face less is
# taken (experiments/gate/README.md).
THRESHOLD = 0.7
LEAVE_THRESHOLD = 0.7  # how probable it must be that a face is better left alone


@dataclass(frozen=True)
class GateConfig:
    """Size of the network.

    Attributes:
        hidden: units of each of the two hidden layers.
    """

    hidden: int = 16

    def __post_init__(self) -> None:
        if self.hidden < 1:
            raise ConfigError(f"gate.hidden: got {self.hidden}, expected at least 1")

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for the JSON beside the weights."""
        return asdict(self)


def gate_features(profile: Profile, norm: float, landmarks: npt.NDArray[np.floating]) -> FloatArray:
    """The gate's input for a face, (7,) float32 in the order of `FEATURES`.

    Args:
        profile: as measured.
        norm: length of the face embedder's vector of the crop: it shrinks where a face has little detail.
        landmarks: (5, 2) in any similarity of the frame.
    """
    p = profile
    values = (p.width, p.sharpness, p.noise, p.blockiness, norm, symmetry(landmarks), p.detail)
    return np.array(values, np.float32)


def symmetry(landmarks: npt.NDArray[np.floating]) -> float:
    """How far a head is turned: the nose's distances to both eyes, their difference over their sum, 0..1; 0 = frontal.

    Raises:
        InputError: if there are not five points.
    """
    if landmarks.shape != (5, 2):
        raise InputError(f"landmarks: got {landmarks.shape}, expected (5, 2)")
    left, right = (float(np.linalg.norm(landmarks[2] - landmarks[i])) for i in (0, 1))
    return abs(left - right) / max(left + right, 1e-6)


class Gate(nn.Module):
    """(N, 7) features to (N, 2) logits: Expert-T costs less than Expert-F, and the input costs less than either."""

    mean: Tensor
    spread: Tensor
    temperature: Tensor

    def __init__(self, config: GateConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or GateConfig()
        count = len(FEATURES)
        self.layers = nn.Sequential(
            nn.Linear(count, c.hidden), nn.SiLU(), nn.Linear(c.hidden, c.hidden), nn.SiLU(), nn.Linear(c.hidden, 2)
        )
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("spread", torch.ones(count))
        self.register_buffer("temperature", torch.ones(2))

    def fit_scale(self, features: Tensor) -> None:
        """Takes mean and spread of (N, 7) training features as the scale of the input."""
        plain = _plain(features)
        self.mean.copy_(plain.mean(0))
        self.spread.copy_(plain.std(0).clamp_min(1e-3))

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.layers((_plain(features) - self.mean) / self.spread)
        return logits

    @torch.inference_mode()
    def probabilities(self, features: Sequence[FloatArray] | FloatArray) -> npt.NDArray[np.float64]:
        """(N, 7) to (N, 2): how likely Expert-T is the better expert, and how likely the face is better left alone."""
        batch = torch.from_numpy(np.stack(list(features)).astype(np.float32))
        return (self(batch) / self.temperature).sigmoid().double().numpy()


def fit_temperature(logits: Tensor, better: Tensor) -> float:
    """The temperature under which the probabilities of (N,) logits fit (N,) outcomes best, by likelihood."""
    log_t = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS([log_t], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(logits / log_t.exp(), better)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call, arg-type]
    return float(log_t.detach().exp())


def outcomes(costs: Tensor) -> Tensor:
    """(N, 3) costs of Expert-T, Expert-F and the input to (N, 2) in {0, 1}, what the gate's two logits predict."""
    return torch.stack((costs[:, 0] < costs[:, 1], costs[:, 2] < costs[:, :2].min(1).values), 1).float()


def _plain(features: Tensor) -> Tensor:
    """The features that spread over decades as logarithms."""
    scaled = features.clone()
    scaled[:, _LOGARITHMIC] = scaled[:, _LOGARITHMIC].clamp_min(0).log1p()
    return scaled
