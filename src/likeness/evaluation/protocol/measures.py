"""All figures of one output against its truth; what they have in common is computed once a truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from likeness.evaluation.benchmarks.base import CROP
from likeness.evaluation.protocol.guard import Guard
from likeness.evaluation.scores import Values
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


@dataclass(frozen=True)
class Truth:
    """A batch of ground truth and what every comparison needs of it.

    Attributes:
        images: (B, 3, S, S), rounded to 8 bits.
        features, face_features: LPIPS features of the crop and, at 256, of the face in it; None without LPIPS.
        embedding, judged: (B, D) at 256; None at 512 or without the network.
        landmarks: (B, 5, 2); None without a detector.
        contrast: (B,) Laplacian variance.
        valid: (B, 1, S, S) bool, where it is a truth; elsewhere an output counts as correct. None = everywhere.
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
        detector: five landmarks on aligned crops; None: identity alone is measured, for verification.
        lpips: None where no backbone is at hand; the figure is then left out.
        judge: the second recogniser; None leaves it out.
        device: of embedder and LPIPS.
        guard: run on every crop that an expert restored; None leaves it out.
    """

    embed: Callable[[Tensor], Tensor]
    detector: Detector | None
    lpips: Lpips | None
    judge: OnnxRecogniser | None
    device: str = "cpu"
    guard: Guard | None = None

    @torch.no_grad()
    def truth(self, images: Tensor, valid: Tensor | None = None) -> Truth:
        """Prepares a batch of ground truth, (B, 3, S, S) in [0, 1] with S = 256 or 512; `valid` as in `Truth`."""
        images = round8(images.to(self.device))
        identity = images.shape[-1] == CROP  # at 256 only, so that there is one figure for both sizes
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
        """What figures of a whole set need of the truth; `compare` returns the same of an output."""
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
        vectors = {
            "embedding": embedding,
            "judged": judged,
            "landmarks": landmarks,
            "power": power,
            "skin": torch.stack((specks(images, valid), streaks(images, valid)), 1) if skin else None,
        }
        return {name: _array(value) for name, value in vectors.items() if value is not None}

    @torch.no_grad()
    def compare(self, output: Tensor, truth: Truth) -> tuple[Mapping[str, Values], Mapping[str, Values]]:
        """Measures a batch after rounding to 8 bits.

        Args:
            output: (B, 3, S, S) in [0, 1], of the truth's size.
            truth: from `truth`.

        Returns:
            Metric to (B,) values, nan where the landmark detector found no face; and what figures of a set or of a
            clip need: `power` (B, 2, S/2 + 1), `landmarks` (B, 5, 2), at 256 also `embedding` and `judged` (B, D),
            at 512 also `skin` (B, 2), specks and streaks.
        """
        images = round8(output.to(self.device))
        if truth.valid is not None:
            images = torch.where(truth.valid, images, truth.images)
        values = {}
        landmarks = None
        if self.detector is not None and truth.landmarks is not None:
            landmarks = find_landmarks(self.detector, images)
            values = {
                "psnr": psnr(images, truth.images) + _masked_decibels(truth.valid),
                "ssim": ssim(images, truth.images),
                "gmsd": gmsd(images, truth.images),
                "sharpness": laplacian_variance(images) / truth.contrast,
                "landmarks": landmark_distance(landmarks, truth.landmarks),
            }
            if images.shape[-1] == CROP:
                values["iris"] = iris_error(images, truth.images)
                drift = colour_drift(images, truth.images)
                values |= {name: drift[:, i] for i, name in enumerate(("drift_l", "drift_a", "drift_b"))}
        if self.lpips is not None and truth.features is not None:
            values["lpips"] = self.lpips.compare(self.lpips.features(images), truth.features)
            if truth.face_features is not None:
                values["lpips_face"] = self.lpips.compare(self.lpips.features(images[FACE]), truth.face_features)
        embedding = judged = None
        if truth.embedding is not None:
            embedding = self.embed(images)
            values["distance"] = embedding_distance(embedding, truth.embedding)
            values["retained"] = (values["distance"] < SAME_PERSON).double()
        if self.judge is not None and truth.judged is not None:
            judged = self.judge.embed_aligned(images)
            values["judge"] = cosine(judged, truth.judged)
        return {k: _array(v) for k, v in values.items()}, self._vectors(
            images, embedding, judged, landmarks, truth.valid
        )


def _masked_decibels(valid: Tensor | None) -> Tensor | float:
    """(B,) decibels by which PSNR is too high where the error of some pixels counts as 0."""
    return 0.0 if valid is None else 10 * valid.double().mean((1, 2, 3)).log10()


def _array(values: Tensor) -> Values:
    return values.detach().cpu().double().numpy()
