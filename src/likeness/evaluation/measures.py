"""All figures of one output against its truth, with what they have in common computed once a truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from likeness.metrics.color import colour_drift, iris_error
from likeness.metrics.gmsd import gmsd
from likeness.metrics.identity import cosine, embedding_distance
from likeness.metrics.images import round8
from likeness.metrics.landmarks import Detector, find_landmarks, landmark_distance
from likeness.metrics.lattice import axis_power
from likeness.metrics.lpips import FACE, Lpips
from likeness.metrics.psnr import psnr
from likeness.metrics.sharpness import laplacian_variance
from likeness.metrics.skin import SIZE as SKIN_SIZE
from likeness.metrics.specks import specks
from likeness.metrics.ssim import ssim
from likeness.metrics.streaks import streaks
from likeness.nets.face_embedder import SAME_PERSON
from likeness.nets.recogniser import OnnxRecogniser

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MetricInfo:
    """How a figure is shown.

    Attributes:
        name: key in CSV and JSON.
        label: heading in tables and figures.
        better: arrow of the heading.
        digits: decimals in Markdown.
        change: the difference against the input is given in the figure's unit or in percent.
        sizes: where it is measured; 0: on whole frames of a clip.
    """

    name: str
    label: str
    better: Literal["↑", "↓", "→ 1", "→ 0", "-"]
    digits: int
    change: Literal["unit", "percent"] = "unit"
    sizes: tuple[int, ...] = (256, 512)


METRICS = (
    MetricInfo("psnr", "PSNR dB", "↑", 2),
    MetricInfo("ssim", "SSIM", "↑", 4),
    MetricInfo("gmsd", "GMSD", "↓", 4, "percent"),
    MetricInfo("lpips", "LPIPS-squeeze", "↓", 4, "percent"),
    MetricInfo("lpips_face", "LPIPS of the face", "↓", 4, "percent", (256,)),
    MetricInfo("sharpness", "sharpness ratio", "→ 1", 3),
    MetricInfo("distance", "embedder distance", "↓", 4, "percent", (256,)),
    MetricInfo("retained", "share below distance .6", "↑", 3, "unit", (256,)),  # dlib: the same person
    MetricInfo("judge", "judge cosine", "↑", 4, "unit", (256,)),
    MetricInfo("landmarks", "landmark distance px at 512", "↓", 2),
    MetricInfo("iris", "iris colour ΔE", "↓", 2, "unit", (256,)),
    MetricInfo("drift_l", "drift of L", "↓", 2, "unit", (256,)),
    MetricInfo("drift_a", "drift of a", "↓", 2, "unit", (256,)),
    MetricInfo("drift_b", "drift of b", "↓", 2, "unit", (256,)),
    MetricInfo("cost", "cost", "↓", 4, "unit", (256,)),  # of an expert or of a choice between them
)
# Of a clip: changes from frame to frame on 0..255, on the stabilised faces or the whole frame.
CLIP_METRICS = (
    MetricInfo("tmse_gt", "T-MSE of the error", "↓", 2, "percent", (256, 0)),
    MetricInfo("tmse_excess", "T-MSE excess", "→ 0", 2, "unit", (256, 0)),
    MetricInfo("tmse", "T-MSE", "-", 2, "unit", (256, 0)),
    MetricInfo("warping", "warping error", "↓", 2, "percent", (256, 0)),
    MetricInfo("jitter", "landmark jitter over the truth's", "→ 1", 3, "unit", (256,)),
    MetricInfo("neighbour", "embedder distance of neighbours", "↓", 4, "percent", (256,)),
    MetricInfo("judge_neighbour", "judge distance of neighbours", "↓", 4, "percent", (256,)),
    MetricInfo("spread", "embedder spread", "↓", 4, "percent", (256,)),
    MetricInfo("judge_spread", "judge spread", "↓", 4, "percent", (256,)),
    MetricInfo("restored", "share of faces restored", "-", 3, "unit", (256,)),
)
# Of a photo without a truth, measured on the face's own pixels, as the router does.
REAL_METRICS = (
    MetricInfo("real_sharpness", "sharpness", "-", 0, "percent", (256,)),
    MetricInfo("detail", "detail %", "-", 2, "unit", (256,)),
    MetricInfo("noise", "noise", "-", 2, "unit", (256,)),
    MetricInfo("blocks", "blockiness", "-", 2, "unit", (256,)),
)
PER_IMAGE = (*METRICS, *CLIP_METRICS, *REAL_METRICS)
# Figures of a set, not of an image.
LATTICE = MetricInfo("lattice", "lattice", "↓", 2)
SPECKS = MetricInfo("specks", "specks over the truth's", "→ 1", 2, sizes=(512,))
STREAKS = MetricInfo("streaks", "streaks over the truth's", "→ 1", 2, sizes=(512,))
FRECHET = MetricInfo("frechet", "Fréchet distance of embeddings", "↓", 4, sizes=(256,))
KERNEL = MetricInfo("kernel", "kernel distance of embeddings", "↓", 5, sizes=(256,))


@dataclass(frozen=True)
class Truth:
    """A batch of ground truth with what every comparison needs of it.

    Attributes:
        images: (B, 3, S, S), rounded to 8 bits.
        features, face_features: LPIPS features of the crop and, at 256, of the face in it; None without LPIPS.
        embedding, judged: (B, D) at 256; None at 512 or without the network.
        landmarks: (B, 5, 2); None without a detector.
        contrast: (B,) Laplacian variance.
        valid: (B, 1, S, S) bool, where it is a truth; elsewhere an output counts as right. None = everywhere.
    """

    images: Tensor
    features: Sequence[Tensor] | None
    face_features: Sequence[Tensor] | None
    embedding: Tensor | None
    judged: Tensor | None
    landmarks: Tensor | None
    contrast: Tensor
    valid: Tensor | None = None

    @property
    def size(self) -> int:
        """Edge length in pixels."""
        return int(self.images.shape[-1])


@dataclass(frozen=True)
class Measures:
    """The networks that measure.

    Attributes:
        embed: aligned crops to embeddings, `FaceEmbedder.embed_aligned`.
        detector: five landmarks on aligned crops; None: only who it is is measured, for verification.
        lpips: None where no backbone is at hand; the figure is then left out.
        judge: the second recogniser; None leaves it out.
        device: where embedder and LPIPS live.
    """

    embed: Callable[[Tensor], Tensor]
    detector: Detector | None
    lpips: Lpips | None
    judge: OnnxRecogniser | None
    device: str = "cpu"

    @torch.no_grad()
    def truth(self, images: Tensor, valid: Tensor | None = None) -> Truth:
        """Prepares a batch of ground truth, (B, 3, S, S) in [0, 1] with S = 256 or 512; `valid` as in `Truth`."""
        images = round8(images.to(self.device))
        identity = images.shape[-1] == 256  # always at 256, so that both sizes tell one figure
        return Truth(
            images,
            None if self.lpips is None else self.lpips.features(images),
            None if self.lpips is None or not identity else self.lpips.features(images[FACE]),
            self.embed(images) if identity else None,
            self.judge.embed_aligned(images) if identity and self.judge else None,
            None if self.detector is None else find_landmarks(self.detector, images),
            laplacian_variance(images),
            None if valid is None else valid.to(self.device),
        )

    def vectors(self, truth: Truth) -> Mapping[str, Values]:
        """What figures of a whole set need of the truth, as `compare` returns it of an output."""
        return self._vectors(truth.images, truth.embedding, truth.judged, truth.landmarks, truth.valid)

    def _vectors(
        self,
        images: Tensor,
        embedding: Tensor | None,
        judged: Tensor | None,
        landmarks: Tensor | None,
        valid: Tensor | None,
    ) -> Mapping[str, Values]:
        power = axis_power(images) if self.detector else None
        skin = self.detector and images.shape[-1] == SKIN_SIZE
        found = {
            "embedding": embedding,
            "judged": judged,
            "landmarks": landmarks,
            "power": power,
            "skin": torch.stack((specks(images, valid), streaks(images, valid)), 1) if skin else None,
        }
        return {name: _array(value) for name, value in found.items() if value is not None}

    @torch.no_grad()
    def compare(self, output: Tensor, truth: Truth) -> tuple[Mapping[str, Values], Mapping[str, Values]]:
        """Measures a batch after rounding to 8 bits.

        Args:
            output: (B, 3, S, S) in [0, 1], of the truth's size.
            truth: from `truth`.

        Returns:
            Metric to (B,) values, nan where a landmark detector found no face; and what figures of a set or of a
            clip need: `power` (B, 2, S/2 + 1), `landmarks` (B, 5, 2), at 256 also `embedding` and `judged` (B, D),
            at 512 also `skin` (B, 2), specks and streaks.
        """
        images = round8(output.to(self.device))
        if truth.valid is not None:
            images = torch.where(truth.valid, images, truth.images)
        found = {}
        landmarks = None
        if self.detector is not None and truth.landmarks is not None:
            landmarks = find_landmarks(self.detector, images)
            found = {
                "psnr": psnr(images, truth.images) + _share(truth.valid),
                "ssim": ssim(images, truth.images),
                "gmsd": gmsd(images, truth.images),
                "sharpness": laplacian_variance(images) / truth.contrast,
                "landmarks": landmark_distance(landmarks, truth.landmarks),
            }
            if images.shape[-1] == 256:
                found["iris"] = iris_error(images, truth.images)
                drift = colour_drift(images, truth.images)
                found |= {name: drift[:, i] for i, name in enumerate(("drift_l", "drift_a", "drift_b"))}
        if self.lpips is not None and truth.features is not None:
            found["lpips"] = self.lpips.compare(self.lpips.features(images), truth.features)
            if truth.face_features is not None:
                found["lpips_face"] = self.lpips.compare(self.lpips.features(images[FACE]), truth.face_features)
        embedding = judged = None
        if truth.embedding is not None:
            embedding = self.embed(images)
            found["distance"] = embedding_distance(embedding, truth.embedding)
            found["retained"] = (found["distance"] < SAME_PERSON).double()
        if self.judge is not None and truth.judged is not None:
            judged = self.judge.embed_aligned(images)
            found["judge"] = cosine(judged, truth.judged)
        return {k: _array(v) for k, v in found.items()}, self._vectors(
            images, embedding, judged, landmarks, truth.valid
        )


def _share(valid: Tensor | None) -> Tensor | float:
    """(B,) decibels by which PSNR is too high where the error of some pixels counts as 0."""
    return 0.0 if valid is None else 10 * valid.double().mean((1, 2, 3)).log10()


def _array(values: Tensor) -> Values:
    return values.detach().cpu().double().numpy()
