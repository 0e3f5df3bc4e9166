"""Identity metrics: the embedder's distance, and the cosine of an independent recogniser, the judge.

The embedder is also a training loss, so its distance alone proves little. The judge took no part in the training. Both
crop by a fixed similarity and do not detect the face again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from likeness.errors import WeightsError
from likeness.nets.recogniser import OnnxRecogniser, open_recogniser
from likeness.paths import data_folder

Embed = Callable[[Tensor], Tensor]  # aligned crops (B, 3, S, S) in [0, 1] to embeddings (B, D)


def embedding_distance(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances (B,) of two (B, D) embeddings; for dlib's recogniser the same person lies below 0.6.

    Examples:
        >>> import torch
        >>> embedding_distance(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0]]))
        tensor([5.])
    """
    return (a - b).square().sum(1).sqrt()


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosines (B,) of two (B, D) embeddings, in [-1, 1]; higher is more similar."""
    return F.cosine_similarity(a, b)


def judge_file() -> Path:
    """The judge's ONNX file in `$LIKENESS_DATA/judge`.

    Raises:
        WeightsError: if there is none.
    """
    data = data_folder()
    files = sorted((data / "judge").glob("*.onnx")) if data else []
    if not files:
        raise WeightsError("judge: no ONNX file in $LIKENESS_DATA/judge; give one with judge=FILE")
    return files[0]


def load_judge(path: Path | str | None = None, flip: bool = True) -> OnnxRecogniser:
    """Opens the independent recogniser on the CPU.

    Args:
        path: ONNX file; None = the result of `judge_file`.
        flip: see `OnnxRecogniser`.

    Raises:
        WeightsError: if the file is missing, is not an ONNX network or does not read 112 x 112 RGB.
    """
    return open_recogniser(judge_file() if path is None else path, "judge", flip)
