"""The loss of a restoring network: a weighted sum of named parts, each in its own file."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likeness.metrics.lpips import Lpips, load_lpips
from likeness.nets.face_embedder import FaceEmbedder, load_embedder
from likeness.training.losses.frequency import focal_frequency
from likeness.training.losses.lattice import spectral_peaks
from likeness.training.losses.likelihood import laplace_nll
from likeness.training.losses.pixel import chroma_l1, feature_weights, weighted_l1

CHROMA_FEATURES = 6.0  # an iris covers a few cells of 4096; its colour is part of who someone is


@dataclass(frozen=True)
class LossWeights:
    """Weights of the parts; 0 switches a part off (and does not load its network).

    They are set by the size of each part's gradient, not of its value: at .2 identity pulls 26 times
    as hard on a pixel as L1 does, LPIPS at .1 twenty times (experiments/expert_f/loss_gradients.py).

    Attributes:
        l1: absolute error at 256, and at 512 where the truth is sharp.
        features: how much more eyes, nose and mouth count in it (1 = twice as much).
        chroma: colour of cells of 4 pixels at 256, eyes, nose and mouth `CHROMA_FEATURES` more.
        frequency: focal frequency loss, at 256 and on a 256 window at 512.
        identity: squared embedder distance to the truth.
        lpips: LPIPS-squeeze on randomly shifted windows.
        lpips_start: progress (0..1) of the training at which LPIPS sets in: too early, it teaches
            halftone instead of faces.
        lpips_window: edge of those windows in pixels.
        lattice: lattice frequencies that stand out of the spectrum at 512.
        scale: likelihood of the confidence head.
        steady: absolute difference of a face restored from two neighbouring frames; needs data.neighbours=true.
    """

    l1: float = 1.0
    features: float = 1.5
    chroma: float = 1.0
    frequency: float = 5.0
    identity: float = 0.08
    lpips: float = 0.002
    lpips_start: float = 0.5
    lpips_window: int = 160
    lattice: float = 0.0007
    scale: float = 0.01
    steady: float = 0.0


class RestorationLoss:
    """Holds the frozen networks of the loss; called with one batch it returns the parts.

    It is no `nn.Module` on purpose: its networks are not part of the model's state.
    """

    def __init__(self, weights: LossWeights | None = None, lpips_backbone: str | None = None) -> None:
        self.weights = w = weights or LossWeights()
        self.embedder: FaceEmbedder | None = load_embedder() if w.identity else None
        self.lpips: Lpips | None = load_lpips(lpips_backbone) if w.lpips else None
        self.maps = {size: feature_weights(size, w.features) for size in (256, 512)}
        self.maps[64] = feature_weights(64, CHROMA_FEATURES)

    def to(self, device: torch.device) -> RestorationLoss:
        """Moves the frozen networks."""
        nets: list[nn.Module | None] = [self.embedder, self.lpips]
        for net in nets:
            if net is not None:
                net.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.maps = {size: weights.to(device) for size, weights in self.maps.items()}
        return self

    def __call__(
        self,
        image: Tensor,
        truth: Tensor,
        sharp: Tensor,
        progress: float,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Computes the weighted parts.

        Args:
            image: (B, 3, 512, 512), the network's output.
            truth: the same shape, in [0, 1].
            sharp: (B,) bool, whether the truth is one at 512.
            progress: share of the training done, 0..1.
            generator: draws the windows and the embedder's view.

        Returns:
            Named scalars, already weighted; their sum is the loss.
        """
        w, count = self.weights, len(image)
        small, small_truth = F.avg_pool2d(image, 2), F.avg_pool2d(truth, 2)
        every, sharps = torch.ones(count, device=image.device), sharp.float()
        parts = {
            "l1": w.l1
            * (
                weighted_l1(small, small_truth, self.maps[256], every)
                + 0.5 * weighted_l1(image, truth, self.maps[512], sharps)
            )
        }
        if w.chroma:
            parts["chroma"] = w.chroma * chroma_l1(small, small_truth, self.maps[64])
        if w.frequency:
            y, x = _corner(512 - 256, generator), _corner(512 - 256, generator)
            window = (slice(None), slice(None), slice(y, y + 256), slice(x, x + 256))
            parts["frequency"] = w.frequency * (
                focal_frequency(small, small_truth, every) + 0.5 * focal_frequency(image[window], truth[window], sharps)
            )
        if self.embedder is not None:
            parts["identity"] = w.identity * self._identity(small, small_truth, generator)
        if self.lpips is not None and progress >= w.lpips_start:
            parts["lpips"] = w.lpips * self._lpips(image, truth, small, small_truth, sharp, generator)
        if w.lattice:
            parts["lattice"] = w.lattice * spectral_peaks(image, slice(_corner(4, generator), None, 4))
        return parts

    def scale(self, log_scale: Tensor, image: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
        """The weighted likelihood of the confidence head, scalar; it does not reach the image.

        Args:
            log_scale: (B, 1, h, w).
            image, truth: (B, 3, 512, 512).
            valid: (B, 1, 512, 512) bool; cells with a pixel outside do not count.
        """
        small, small_truth = F.avg_pool2d(image.detach(), 2).float(), F.avg_pool2d(truth, 2)
        return self.weights.scale * laplace_nll(log_scale, small, small_truth, valid[..., ::2, ::2])

    def _identity(self, image: Tensor, truth: Tensor, generator: torch.Generator) -> Tensor:
        assert self.embedder is not None
        # A random view each step: a network that sees one fixed view learns to fool it.
        dy, dx = _corner(9, generator) - 4, _corner(9, generator) - 4
        views = [torch.roll(v, (dy, dx), (2, 3)) for v in (image, truth)]
        if _corner(2, generator):
            views = [v.flip(3) for v in views]
        with torch.no_grad():
            target = self.embedder.embed_aligned(views[1])
        return (self.embedder.embed_aligned(views[0]) - target).float().square().sum(1).mean()

    def _lpips(
        self,
        image: Tensor,
        truth: Tensor,
        small: Tensor,
        small_truth: Tensor,
        sharp: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        assert self.lpips is not None
        size = self.weights.lpips_window
        windows, targets = [], []
        for i, full in enumerate(sharp.tolist()):
            # Half of the sharp ones are judged at 512, the rest and all enlarged truths at 256.
            a, b = (image, truth) if full and _corner(2, generator) else (small, small_truth)
            room = a.shape[-1] - size
            y, x = _corner(room + 1, generator), _corner(room + 1, generator)
            windows.append(a[i, :, y : y + size, x : x + size])
            targets.append(b[i, :, y : y + size, x : x + size])
        value: Tensor = self.lpips(torch.stack(windows), torch.stack(targets))
        return value.float().mean()


def _corner(limit: int, generator: torch.Generator) -> int:
    return int(torch.randint(limit, (), generator=generator)) if limit > 0 else 0
