"""Is it still the same person: the training embedder's distance, and a second recogniser as judge.

The embedder is a training loss, so its distance alone proves little; the judge took no part in
training. Both crop by a fixed similarity and never look for the face again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from likeness.errors import WeightsError
from likeness.metrics.images import ImageMean
from likeness.nets.recogniser import OnnxRecogniser, open_recogniser

Embed = Callable[[Tensor], Tensor]


def embedding_distance(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distance of two (B, D) embeddings, (B,); dlib's same person lies below 0.6."""
    return (a - b).square().sum(1).sqrt()


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of two (B, D) embeddings, (B,) in [-1, 1], higher is more alike."""
    return F.cosine_similarity(a, b)


class IdentityDistance(ImageMean):
    """Running mean of the embedder's distance between FFHQ-aligned crops.

    Args:
        embed: aligned crops (B, 3, S, S) in [0, 1] to (B, D), e.g. `FaceEmbedder.embed_aligned`.
    """

    higher_is_better = False

    def __init__(self, embed: Embed) -> None:
        super().__init__()
        self.embed = embed

    def per_image(self, output: Tensor, truth: Tensor) -> Tensor:
        """(B,) distances."""
        return embedding_distance(self.embed(output), self.embed(truth))


def judge_file() -> Path:
    """The judge below `$LIKENESS_DATA/judge`.

    Raises:
        WeightsError: if there is none.
    """
    root = os.environ.get("LIKENESS_DATA")
    found = sorted((Path(root) / "judge").glob("*.onnx")) if root else []
    if not found:
        raise WeightsError("judge: no ONNX file in $LIKENESS_DATA/judge; name one with judge=FILE")
    return found[0]


def load_judge(path: Path | str | None = None, flip: bool = True) -> OnnxRecogniser:
    """Opens the second recogniser on the CPU.

    Args:
        path: ONNX file; by default what `judge_file` finds.
        flip: see `OnnxRecogniser`.

    Raises:
        WeightsError: if the file is missing, is no ONNX network, or does not read 112 x 112 RGB.
    """
    return open_recogniser(judge_file() if path is None else path, "judge", flip)
