"""Measures how the prior uses its codes on held-out faces: `python experiments/vq_prior/prior_codes.py`.

Writes the fraction of codes in use, their perplexity, and how many of the faces keep their identity through the
codebook. The means of the other figures stand in evaluate.py's tables.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from likeness.data.faces import read_face
from likeness.evaluation.benchmarks.faces import face_folder, real_faces
from likeness.evaluation.report.provenance import write_markdown
from likeness.metrics.identity import Embed, embedding_distance
from likeness.metrics.images import halve, round8
from likeness.nets.face_embedder import load_embedder
from likeness.nets.prior import INPUT_SIZE, Prior
from likeness.nets.vq import Usage, count_codes, usage
from likeness.ops.tensors import to_float_tensor
from likeness.tasks import arguments
from likeness.weights.networks import load_prior

SAME = 0.25  # embedder distance below which a reconstruction counts as the same face; dlib's same person: 0.6


@dataclass
class PriorCodesOptions:
    """Options of the command.

    Attributes:
        root: folder of aligned faces with a manifest; by default LIKENESS_DATA/faces.
        weights: a prior's weight file; by default the released one.
        dst: the Markdown file to write.
        limit: faces at most, 0 = all real ones of `val`.
    """

    root: str = ""
    weights: str = ""
    dst: str = "experiments/vq_prior/codes.md"
    limit: int = 0


@torch.inference_mode()
def survey(prior: Prior, embed: Embed, faces: Iterable[Tensor]) -> tuple[Usage, np.ndarray]:
    """Codes and identity of reconstructions.

    Args:
        prior: in evaluation mode.
        embed: aligned crops (B, 3, 256, 256) to embeddings.
        faces: (3, 256, 256) in [0, 1], one at a time.

    Returns:
        The usage over all faces, and the distance of each reconstruction to its face, (N,).
    """
    counts = torch.zeros(prior.codebook.heads, prior.codebook.size, dtype=torch.int64)
    distances = []
    for face in faces:
        output = prior(face[None])
        counts += count_codes(output.indices, prior.codebook.size)
        image = round8(halve(output.image))
        distances.append(float(embedding_distance(embed(image), embed(face[None]))))
    return usage(counts, prior.codebook.vectors.cpu()), np.array(distances)


def run(options: PriorCodesOptions) -> None:
    """Measures, prints and writes.

    Raises:
        DataError: where no faces are named or there are none.
        OutputError: if the file cannot be written.
    """
    root = face_folder(options.root)
    records = real_faces(root)[: options.limit or None]
    prior, sha256 = load_prior(options.weights or None)
    faces = (to_float_tensor(torch.from_numpy(np.array(read_face(root, r, INPUT_SIZE)))[None])[0] for r in records)
    used, distances = survey(prior, load_embedder().embed_aligned, track(faces, "codes", len(records)))
    book = prior.codebook
    lines = [
        f"- faces: {len(records)} real ones of `val`",
        f"- codes used: {100 * used.used:.1f} % of {book.size}, in the less used head of {book.heads}",
        f"- perplexity: {used.perplexity:.0f} of {book.size}; length of the codes' mean vector {used.alike:.2f}",
        f"- embedder distance to the face: mean {distances.mean():.3f}, 90th percentile "
        f"{np.quantile(distances, 0.9):.3f}; below {SAME}: {100 * (distances < SAME).mean():.1f} %",
    ]
    write_markdown(Path(options.dst), "The prior's codes", lines, {"weights": sha256})
    print("\n".join(lines))


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(PriorCodesOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
