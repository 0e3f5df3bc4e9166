"""The loss of a restored face: a weighted sum of named losses, each in its own file."""

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

# Extra weight of eyes, nose and mouth in the colour loss. An iris covers a few of 4096 cells, but its colour matters
# for the identity.
CHROMA_FEATURES = 6.0


@dataclass(frozen=True)
class LossWeights:
    """Weights of the losses. A loss of weight 0 is left out, and its network is not loaded.

    The weights account for the size of each loss's gradient, not of its value: at a weight of 0.2 the gradient of
    identity is 26 times as large as that of L1, for LPIPS at 0.1 it is 20 times
    (experiments/expert_f/loss_gradients.py).

    Attributes:
        l1: absolute error at 256, and at 512 where the truth is sharp.
        features: extra weight of eyes, nose and mouth in `l1` (1 = twice the weight).
        chroma: colour error of cells of 4 pixels at 256, with the extra weight `CHROMA_FEATURES`.
        frequency: focal frequency loss at 256, and on a window of 256 px at 512.
        identity: squared embedder distance to the truth.
        lpips: LPIPS-squeeze on random windows.
        lpips_start: progress (0..1) of the training at which LPIPS starts. If it starts too early, the network learns
            halftone instead of faces.
        lpips_window: edge of those windows in pixels.
        lattice: peaks of the spectrum at lattice frequencies at 512.
        scale: negative log-likelihood that trains the confidence head.
        temporal_consistency: absolute difference between the restorations of two neighbouring frames; needs
            data.frame_pairs=true.
        cycle_spinning: squared difference to what the weights that training started from restore on average over
            shifted inputs: hatching stays in place when the face moves, and is not in that average.
        keep: squared difference to what the weights that training started from restore.
        dots: squared difference between dots that a sharp truth does not have and their surroundings.
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
    temporal_consistency: float = 0.0
    cycle_spinning: float = 0.0
    keep: float = 0.0
    dots: float = 0.0


class RestorationLoss:
    """The weighted losses and their frozen networks.

    It is deliberately no `nn.Module`, so that its networks are not part of the model's state.

    Args:
        weights: of the losses.
        lpips_backbone: see `metrics.lpips.load_lpips`.
    """

    def __init__(self, weights: LossWeights | None = None, lpips_backbone: str | None = None) -> None:
        self.weights = w = weights or LossWeights()
        self.embedder: FaceEmbedder | None = load_embedder() if w.identity else None
        self.lpips: Lpips | None = load_lpips(lpips_backbone) if w.lpips else None
        self.maps = {size: feature_weights(size, w.features) for size in (256, 512)}
        self.maps[64] = feature_weights(64, CHROMA_FEATURES)

    def to(self, device: torch.device) -> RestorationLoss:
        """Moves the frozen networks to a device."""
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
        """Computes the weighted losses.

        Args:
            image: (B, 3, 512, 512), the network's output.
            truth: the same shape, in [0, 1].
            sharp: (B,) bool, whether the face is ground truth at 512.
            progress: of the training, 0..1.
            generator: source of the windows and of the embedder's view.

        Returns:
            Named scalars, already weighted; their sum is the loss.
        """
        w, count = self.weights, len(image)
        small, small_truth = F.avg_pool2d(image, 2), F.avg_pool2d(truth, 2)
        every, sharp_only = torch.ones(count, device=image.device), sharp.float()
        losses = {
            "l1": w.l1
            * (
                weighted_l1(small, small_truth, self.maps[256], every)
                + 0.5 * weighted_l1(image, truth, self.maps[512], sharp_only)
            )
        }
        if w.chroma:
            losses["chroma"] = w.chroma * chroma_l1(small, small_truth, self.maps[64])
        if w.frequency:
            y, x = _corner(512 - 256, generator), _corner(512 - 256, generator)
            window = (slice(None), slice(None), slice(y, y + 256), slice(x, x + 256))
            losses["frequency"] = w.frequency * (
                focal_frequency(small, small_truth, every)
                + 0.5 * focal_frequency(image[window], truth[window], sharp_only)
            )
        if self.embedder is not None:
            losses["identity"] = w.identity * self._identity(small, small_truth, generator)
        if self.lpips is not None and progress >= w.lpips_start:
            losses["lpips"] = w.lpips * self._lpips(image, truth, small, small_truth, sharp, generator)
        if w.lattice:
            losses["lattice"] = w.lattice * spectral_peaks(image, slice(_corner(4, generator), None, 4))
        return losses

    def scale(self, log_scale: Tensor, image: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
        """The weighted negative log-likelihood of the confidence head; the image gets no gradient.

        Args:
            log_scale: (B, 1, h, w).
            image, truth: (B, 3, 512, 512).
            valid: (B, 1, 512, 512) bool; cells with an invalid pixel do not count.

        Returns:
            Scalar.
        """
        small, small_truth = F.avg_pool2d(image.detach(), 2).float(), F.avg_pool2d(truth, 2)
        return self.weights.scale * laplace_nll(log_scale, small, small_truth, valid[..., ::2, ::2])

    def _identity(self, image: Tensor, truth: Tensor, generator: torch.Generator) -> Tensor:
        assert self.embedder is not None
        # A random view in each step; for a fixed view the network would learn adversarial patterns.
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
        for i, is_sharp in enumerate(sharp.tolist()):
            # Half of the sharp faces are compared at 512, the others and all soft truths at 256.
            output, target = (image, truth) if is_sharp and _corner(2, generator) else (small, small_truth)
            positions = output.shape[-1] - size + 1
            y, x = _corner(positions, generator), _corner(positions, generator)
            windows.append(output[i, :, y : y + size, x : x + size])
            targets.append(target[i, :, y : y + size, x : x + size])
        value: Tensor = self.lpips(torch.stack(windows), torch.stack(targets))
        return value.float().mean()


def _corner(limit: int, generator: torch.Generator) -> int:
    return int(torch.randint(limit, (), generator=generator)) if limit > 0 else 0
