"""Any face recogniser in ONNX that reads ArcFace's crops: the judge of evaluations, or a guard of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.errors import InputError, WeightsError, needs_extra
from likeness.ops import geometry

if TYPE_CHECKING:
    import onnxruntime

# Five points at 112 x 112: the alignment that ArcFace models are trained with.
ARCFACE_TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
ARCFACE_SIZE = 112


def arcface_matrix(size: int) -> geometry.Matrix:
    """The fixed similarity from an FFHQ crop of `size` pixels to ArcFace's 112 x 112, (2, 3).

    Least squares over the two templates' five points, read as complex numbers: w = z p + t.
    """
    points, target = (p @ np.array([1, 1j]) for p in (geometry.template(size), ARCFACE_TEMPLATE))
    z, t = np.polyfit(points, target, 1)
    return np.array([[z.real, -z.imag, t.real], [z.imag, z.real, t.imag]])


class OnnxRecogniser:
    """An ONNX network (B, 3, 112, 112) RGB 0..255 to (B, D).

    The crop is cut by a fixed similarity; the face is never looked for again.

    Args:
        session: an onnxruntime session with one input and one output.
        flip: add the mirrored crop's embedding (flip-sum).
    """

    def __init__(self, session: onnxruntime.InferenceSession, flip: bool = True) -> None:
        self.session, self.flip = session, flip

    def embed_aligned(self, crop: Tensor) -> Tensor:
        """Embeds FFHQ-aligned crops, (B, 3, S, S) in [0, 1], to (B, D) of unit length on the CPU.

        Raises:
            InputError: if the crops are no batch of square RGB pictures.
        """
        if crop.ndim != 4 or crop.shape[1] != 3 or crop.shape[2] != crop.shape[3] or 0 in crop.shape:
            raise InputError(f"crops: got {tuple(crop.shape)}, expected (B, 3, S, S), square FFHQ-aligned crops")
        matrix = arcface_matrix(crop.shape[-1])
        chips = [
            geometry.warp(np.ascontiguousarray(c.permute(1, 2, 0).cpu().numpy()), matrix, (ARCFACE_SIZE, ARCFACE_SIZE))
            for c in crop.detach().float()
        ]
        batch = np.clip(np.stack(chips), 0, 1).transpose(0, 3, 1, 2) * np.float32(255)
        embedding = self._run(batch)
        if self.flip:
            embedding = embedding + self._run(batch[..., ::-1])
        return F.normalize(torch.from_numpy(embedding))

    def embed_views(self, crop: Tensor, shift: int = 4) -> Tensor:
        """Mean embedding of two shifted views (+-`shift` px at 256), each as `embed_aligned`."""
        step = shift * crop.shape[-1] // 256
        return torch.stack([self.embed_aligned(torch.roll(crop, s, dims=3)) for s in (-step, step)]).mean(0)

    def _run(self, batch: np.ndarray) -> np.ndarray:
        name = self.session.get_inputs()[0].name
        return np.asarray(self.session.run(None, {name: np.ascontiguousarray(batch)})[0])


def open_recogniser(path: Path | str, option: str, flip: bool = True) -> OnnxRecogniser:
    """Opens a recogniser on the CPU.

    Args:
        path: ONNX file.
        option: what the user set, for the error message.
        flip: see `OnnxRecogniser`.

    Raises:
        ConfigError: if ONNX Runtime is not installed.
        WeightsError: if the file is missing, is no ONNX network, or does not read 112 x 112 RGB.
    """
    with needs_extra("onnx", option):
        import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()  # as many as torch was given, not all cores
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no base class
        raise WeightsError(f"{option}: cannot open {path} ({error}); expected an ONNX network") from error
    inputs = session.get_inputs()
    if len(inputs) != 1 or list(inputs[0].shape[1:]) != [3, ARCFACE_SIZE, ARCFACE_SIZE]:
        shapes = [i.shape for i in inputs]
        raise WeightsError(
            f"{option}: {path} reads {shapes}, expected one input (B, 3, {ARCFACE_SIZE}, {ARCFACE_SIZE})"
        )
    return OnnxRecogniser(session, flip)
