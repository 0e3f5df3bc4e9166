"""Comparison of a result and its input with a reference, the true picture or clip."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from likeness.errors import InputError, WeightsError
from likeness.metrics.gmsd import gmsd
from likeness.metrics.identity import cosine
from likeness.metrics.lpips import Lpips, backbone_file, load_lpips
from likeness.metrics.psnr import psnr
from likeness.metrics.ssim import ssim
from likeness.ops.color import to_float
from likeness.ops.resize import resize
from likeness.ops.tensors import to_tensor
from likeness.pipeline.state import Models
from likeness.stages.align import align
from likeness.types import Pixels
from likeness.weights.files import file_hash


class Comparison:
    """Collects PSNR, SSIM, GMSD and LPIPS of frames, and identity distances of faces, for output and input.

    Everything is measured at the reference's size; output and input are resized to it. Faces are those that the
    detector finds in the reference, aligned there. LPIPS-squeeze needs its backbone file; where that is missing, the
    result names it.

    Args:
        models: detector and embedder.
        lpips_file: the backbone; empty = the usual place.
    """

    def __init__(self, models: Models, lpips_file: str = "") -> None:
        self.models = models
        self.values: dict[str, dict[str, list[float]]] = {"output": defaultdict(list), "input": defaultdict(list)}
        self.missing: list[str] = []
        self.hashes: dict[str, str] = {}
        self.faces = 0
        self.lpips: Lpips | None = None
        try:
            file = Path(lpips_file) if lpips_file else backbone_file()
            self.lpips = load_lpips(file)
            self.hashes["lpips"] = file_hash(file)
        except WeightsError as error:
            self.missing.append(f"lpips: {error}")

    def add(self, output: Pixels, truth: Pixels, source: Pixels) -> None:
        """Adds one frame.

        Raises:
            InputError: if the proportions of the three differ.
        """
        height, width = truth.shape[:2]
        ratios = {round(x.shape[1] / x.shape[0], 2) for x in (output, truth, source)}
        if max(ratios) - min(ratios) > 0.03:
            raise InputError(
                f"reference: is {width}x{height}, the output {output.shape[1]}x{output.shape[0]}; "
                "expected the same picture at the same proportions"
            )
        with torch.inference_mode():
            reference = to_tensor(to_float(truth))
            for role, pixels in (("output", output), ("input", source)):
                image = to_tensor(to_float(resize(pixels, width, height)))
                values = self.values[role]
                values["psnr"].append(float(psnr(image, reference)))
                values["ssim"].append(float(ssim(image, reference)))
                values["gmsd"].append(float(gmsd(image, reference)))
                if self.lpips is not None:
                    values["lpips"].append(float(self.lpips(image, reference)))
            for landmarks in self.models.detector.detect([truth])[0].landmarks:
                self.faces += 1
                true_face = self._embed(truth, landmarks)
                for role, pixels in (("output", output), ("input", source)):
                    face = self._embed(resize(pixels, width, height), landmarks)
                    self.values[role]["identity_distance"].append(float((face - true_face).norm()))
                    self.values[role]["identity_cosine"].append(float(cosine(face, true_face)))

    def _embed(self, pixels: Pixels, landmarks: np.ndarray) -> Tensor:
        crop = to_tensor(align(pixels, landmarks, 256).image)
        return self.models.embedder.embed_views(crop.to(self.models.embedder.fc.weight.device)).cpu()

    def result(self) -> dict[str, Any]:
        """Means of output and input, the number of faces compared, and what could not be measured.

        The mean of PSNR is None where it is infinite because the pictures are equal.
        """
        means = {role: {n: _mean(x) for n, x in v.items()} for role, v in self.values.items()}
        return {**means, "faces": self.faces, "missing": self.missing}


def figure(value: float | None) -> str:
    """A mean as text; "equal" for None, see `Comparison.result`."""
    return "equal" if value is None else f"{value:.4g}"


def _mean(values: list[float]) -> float | None:
    mean = float(np.mean(values))
    return round(mean, 5) if math.isfinite(mean) else None
