"""Is it still the same person: the training embedder's distance, and a second recogniser as judge.

The embedder is a training loss, so its distance alone proves little; the judge took no part in
training. Both crop by a fixed similarity and never look for the face again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.errors import InputError, WeightsError
from likeness.metrics.images import ImageMean, check_batch
from likeness.ops import geometry

Embed = Callable[[Tensor], Tensor]

# The judge's five points at 112 x 112: the alignment that ArcFace models are trained with.
JUDGE_TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
JUDGE_SIZE = 112


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


def judge_matrix(size: int) -> geometry.Matrix:
    """The fixed similarity from an FFHQ crop of `size` pixels to the judge's 112 x 112, (2, 3).

    Least squares over the two templates' five points, read as complex numbers: w = z p + t.
    """
    points, target = (p @ np.array([1, 1j]) for p in (geometry.template(size), JUDGE_TEMPLATE))
    z, t = np.polyfit(points, target, 1)
    return np.array([[z.real, -z.imag, t.real], [z.imag, z.real, t.imag]])


class Judge:
    """The second recogniser, an ONNX network (B, 3, 112, 112) RGB 0..255 to (B, D).

    Args:
        session: an onnxruntime session with one input and one output.
        flip: add the mirrored crop's embedding (flip-sum), as the recogniser's own LFW figure was measured.
    """

    def __init__(self, session: onnxruntime.InferenceSession, flip: bool = True) -> None:
        self.session, self.flip = session, flip

    @property
    def name(self) -> str:
        """What the table calls it."""
        return "judge, flip-sum" if self.flip else "judge, one view"

    def embed(self, crops: Tensor) -> Tensor:
        """Embeds FFHQ-aligned crops, (B, 3, S, S) in [0, 1], to (B, D) of unit length on the CPU.

        Raises:
            InputError: if the crops are not square RGB batches.
        """
        check_batch(crops, "crops")
        if crops.shape[2] != crops.shape[3]:
            raise InputError(f"crops: got {tuple(crops.shape[2:])} pixels, expected square FFHQ-aligned crops")
        matrix = judge_matrix(crops.shape[-1])
        chips = [
            geometry.warp(np.ascontiguousarray(c.permute(1, 2, 0).cpu().numpy()), matrix, (JUDGE_SIZE, JUDGE_SIZE))
            for c in crops.detach().float()
        ]
        batch = np.clip(np.stack(chips), 0, 1).transpose(0, 3, 1, 2) * np.float32(255)
        found = self._run(batch)
        if self.flip:
            found = found + self._run(batch[..., ::-1])
        return F.normalize(torch.from_numpy(found))

    def _run(self, batch: np.ndarray) -> np.ndarray:
        name = self.session.get_inputs()[0].name
        return np.asarray(self.session.run(None, {name: np.ascontiguousarray(batch)})[0])


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


def load_judge(path: Path | str | None = None, flip: bool = True) -> Judge:
    """Opens the second recogniser on the CPU.

    Args:
        path: ONNX file; by default what `judge_file` finds.
        flip: see `Judge`.

    Raises:
        WeightsError: if the file is missing, is no ONNX network, or does not read 112 x 112 RGB.
    """
    file = judge_file() if path is None else Path(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()  # as many as torch was given, not all cores
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no base class
        raise WeightsError(f"judge: cannot open {file} ({error}); expected an ONNX network") from error
    inputs = session.get_inputs()
    if len(inputs) != 1 or list(inputs[0].shape[1:]) != [3, JUDGE_SIZE, JUDGE_SIZE]:
        shapes = [i.shape for i in inputs]
        raise WeightsError(f"judge: {file} reads {shapes}, expected one input (B, 3, {JUDGE_SIZE}, {JUDGE_SIZE})")
    return Judge(session, flip)
