"""How the prior uses its codes on held-out faces: `python -m likeness.tasks.prior_codes`.

Writes the share of codes in use, their perplexity, and how many of the faces keep their identity through
the codebook. The means of the other figures stand in evaluate.py's tables.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from likeness.data.faces import read_face, read_manifest, split_records
from likeness.errors import DataError
from likeness.evaluation import provenance
from likeness.metrics.identity import Embed, embedding_distance
from likeness.metrics.images import halve, round8
from likeness.nets.face_embedder import load_embedder
from likeness.nets.prior import INPUT_SIZE, Prior
from likeness.nets.vq import Usage, count_codes, usage
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
        found = prior(face[None])
        counts += count_codes(found.indices, prior.codebook.size)
        image = round8(halve(found.image))
        distances.append(float(embedding_distance(embed(image), embed(face[None]))))
    return usage(counts, prior.codebook.vectors.cpu()), np.array(distances)


def run(options: PriorCodesOptions) -> None:
    """Measures, prints and writes.

    Raises:
        DataError: where no faces are named or there are none.
        OutputError: if the file cannot be written.
    """
    data = os.environ.get("LIKENESS_DATA", "")
    if not options.root and not data:
        raise DataError("prior_codes: no faces; give root=DIR or set LIKENESS_DATA")
    root = Path(options.root) if options.root else Path(data) / "faces"
    records = [r for r in split_records(read_manifest(root), "val") if r.kind == "real"]
    records = records[: options.limit or None]
    if not records:
        raise DataError(f"prior_codes: {root}/manifest.csv has no real face in split val")
    prior, sha256 = load_prior(options.weights or None)
    faces = (torch.from_numpy(np.array(read_face(root, r, INPUT_SIZE))).permute(2, 0, 1).float() / 255 for r in records)
    found, distances = survey(prior, load_embedder().embed_aligned, track(faces, "codes", len(records)))
    book = prior.codebook
    lines = [
        f"- faces: {len(records)} real ones of `val`",
        f"- codes used: {100 * found.used:.1f} % of {book.size}, in the less used head of {book.heads}",
        f"- perplexity: {found.perplexity:.0f} of {book.size}; length of the codes' mean vector {found.alike:.2f}",
        f"- embedder distance to the face: mean {distances.mean():.3f}, 90th percentile "
        f"{np.quantile(distances, 0.9):.3f}; below {SAME}: {100 * (distances < SAME).mean():.1f} %",
    ]
    provenance.write_markdown(Path(options.dst), "The prior's codes", lines, {"weights": sha256})
    print("\n".join(lines))


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(PriorCodesOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
