"""Draws the prior's codebook, reconstructions and an interpolation: `python experiments/vq_prior/prior_views.py`.

The faces are drawn ones and scikit-image's astronaut (NASA, public domain), so the pictures may be published.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.data import astronaut

from likeness.data.synthetic_faces import draw_face
from likeness.evaluation.report.files import writing
from likeness.nets.prior import INPUT_SIZE
from likeness.ops.tensors import to_float_tensor
from likeness.stages.align import align
from likeness.stages.detect.base import DetectConfig
from likeness.stages.detect.mtcnn import MtcnnDetector
from likeness.tasks import arguments
from likeness.training.views import codebook_sheet, interpolation, reconstructions
from likeness.types import Pixels
from likeness.weights.networks import load_prior


@dataclass
class PriorViewsOptions:
    """Options of the command.

    Attributes:
        weights: a prior's weight file; by default the released one.
        dst: folder of the pictures.
    """

    weights: str = ""
    dst: str = "experiments/vq_prior"


def portrait() -> Pixels:
    """The astronaut, aligned: (256, 256, 3) uint8."""
    image = np.ascontiguousarray(astronaut())
    (faces,) = MtcnnDetector(DetectConfig()).detect([image])
    crop = align(image, faces.landmarks[int(np.argmax(faces.scores))], INPUT_SIZE).image
    return np.rint(np.clip(crop, 0, 1) * 255).astype(np.uint8)


def run(options: PriorViewsOptions) -> None:
    """Writes the pictures.

    Raises:
        WeightsError: if there are no weights.
        OutputError: if the folder cannot be written.
    """
    prior, _ = load_prior(options.weights or None)
    portraits = [portrait(), *(draw_face(INPUT_SIZE, seed) for seed in (1, 2))]
    faces = to_float_tensor(torch.from_numpy(np.stack(portraits)))
    pictures = {f"codebook_{head}.png": codebook_sheet(prior, head) for head in range(prior.codebook.heads)}
    pictures["reconstructions.png"] = reconstructions(prior, faces)
    pictures["interpolation.png"] = interpolation(prior, faces[0], faces[1], 7)
    folder = Path(options.dst)
    with writing(folder, "dst"):
        for name, picture in pictures.items():
            Image.fromarray(picture).save(folder / name)
    print(f"{', '.join(pictures)} in {folder}")


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(PriorViewsOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
