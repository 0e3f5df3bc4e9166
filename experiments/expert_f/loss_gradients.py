"""Compares the gradients of the parts of the loss: `python experiments/expert_f/loss_gradients.py`.

Weights alone do not tell the influence of a part, as gradients differ by orders of magnitude. This takes the gradient
of every weighted part with respect to the output, where training starts (the bicubic enlargement of the input), and
prints its norm beside that of L1.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.data.faces import cached_faces, read_manifest, split_records
from likeness.data.pairs import MixConfig, TrainingPairs
from likeness.data.sources import ArraySource
from likeness.evaluation.benchmarks.faces import face_folder
from likeness.evaluation.report.provenance import write_markdown
from likeness.ops.tensors import to_float_tensor
from likeness.tasks import arguments
from likeness.training.losses.restoration import LossWeights, RestorationLoss


@dataclass
class LossGradientsOptions:
    """Options of the command.

    Attributes:
        root: folder of aligned faces with a manifest; by default LIKENESS_DATA/faces.
        cache: where decoded faces are kept.
        dst: the table that is written.
        batches, batch_size: how many pairs are averaged.
        seed: of the pairs and of the windows in the loss.
        weights: of the parts, for example weights.lpips=0.1.
    """

    root: str = ""
    cache: str = "logs/cache"
    dst: str = "experiments/expert_f/gradients.md"
    batches: int = 6
    batch_size: int = 8
    seed: int = 7
    weights: LossWeights = field(default_factory=LossWeights)


def gradient_norms(
    loss: RestorationLoss, batches: Iterable[tuple[Tensor, Tensor, Tensor]], seed: int
) -> dict[str, tuple[float, float]]:
    """Mean value, and mean Euclidean norm of the gradient with respect to the output, by part.

    Args:
        loss: every part at its weight at the end of the training.
        batches: input (B, 3, 256, 256) and truth (B, 3, 512, 512) in [0, 1], and (B,) bool `sharp`.
        seed: of the windows.
    """
    values: dict[str, list[tuple[float, float]]] = {}
    for number, (degraded, truth, sharp) in enumerate(batches):
        output = F.interpolate(degraded, scale_factor=2, mode="bicubic", align_corners=False).requires_grad_()
        parts = loss(output, truth, sharp, 1.0, torch.Generator().manual_seed(seed + number))
        for name, part in parts.items():
            (gradient,) = torch.autograd.grad(part, output, retain_graph=True)
            values.setdefault(name, []).append((float(part.detach()), float(gradient.norm())))
    return {
        name: (float(np.mean([value for value, _ in pairs])), float(np.mean([norm for _, norm in pairs])))
        for name, pairs in values.items()
    }


def table(norms: Mapping[str, tuple[float, float]]) -> list[str]:
    """Markdown rows, each part's gradient beside that of L1."""
    lines = ["| part | weighted value | norm of its gradient | times L1's |", "|---|---|---|---|"]
    for name, (value, norm) in norms.items():
        lines.append(f"| {name} | {value:.4f} | {norm:.2e} | {norm / norms['l1'][1]:.2f} |")
    return lines


def run(options: LossGradientsOptions) -> None:
    """Measures, prints and writes.

    Raises:
        DataError: where no faces are named.
    """
    root = face_folder(options.root)
    records = split_records(read_manifest(root), "train")
    source = ArraySource(cached_faces(root, records, Path(options.cache)), records)
    pairs = TrainingPairs(source, MixConfig(), None, options.seed, options.batches * options.batch_size)

    def batch(number: int) -> tuple[Tensor, Tensor, Tensor]:
        samples: Sequence[dict[str, Any]] = [pairs[number * options.batch_size + i] for i in range(options.batch_size)]
        degraded, truth = (to_float_tensor(torch.stack([s[key] for s in samples])) for key in ("input", "truth"))
        return degraded, truth, torch.stack([s["sharp"] for s in samples])

    norms = gradient_norms(RestorationLoss(options.weights), map(batch, range(options.batches)), options.seed)
    lines = table(norms)
    write_markdown(Path(options.dst), "Gradients of the parts of the loss", lines)
    print("\n".join(lines))


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(LossGradientsOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
