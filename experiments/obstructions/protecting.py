"""What protection changes: `python experiments/obstructions/protecting.py faces=12`.

Masks, hands and objects are drawn over held-out faces, which become poor photos. Each is restored with and without
`composite.protect`. The judge compares the result with the same face before the degradation.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from likeness.data.faces import read_face
from likeness.data.obstructions.samples import obstruct
from likeness.data.photos import draw_rng
from likeness.evaluation.benchmarks.faces import face_folder, real_faces
from likeness.evaluation.report.provenance import write_markdown
from likeness.metrics.identity import cosine, load_judge
from likeness.nets.recogniser import OnnxRecogniser
from likeness.ops.color import to_float
from likeness.ops.geometry import template
from likeness.ops.resize import resize
from likeness.pipeline.config import from_overrides
from likeness.pipeline.restorer import Restorer
from likeness.stages.obstructions import protection
from likeness.tasks import arguments
from likeness.types import Faces, Pixels

EDGE = 180  # pixels of the photo; its face is 88 pixels wide


@dataclass
class ProtectingOptions:
    """Options of the command.

    Attributes:
        root: folder of aligned faces with a manifest; by default LIKENESS_DATA/faces.
        weights: of the network; empty = released.
        dst: folder of the table.
        faces: real ones of `val`, at even steps.
        recipe: of the degradation.
        seed: of the obstructions.
    """

    root: str = ""
    weights: str = ""
    dst: str = "experiments/obstructions"
    faces: int = 12
    recipe: str = "gfpgan"
    seed: int = 1


def run(options: ProtectingOptions) -> Path:
    """Measures and writes the table."""
    root, judge = face_folder(options.root), load_judge()
    common = [f"weights.obstructions={options.weights}", "upscale=1", "background.name=lanczos", "device=cpu"]
    restorers = [Restorer(from_overrides([*common, f"composite.protect={p}"])) for p in ("true", "false")]
    points = template(EDGE).astype(np.float32)
    face = Faces(np.array([[25, 25, 155, 165]], np.float32), np.ones(1, np.float32), points[None])
    cosines: dict[str, list[list[float]]] = {}
    largest, covered, kept_of = 0, [], []
    for i, record in enumerate(real_faces(root, options.faces)):
        kind = ("mask", "object")[i % 2]
        rng = draw_rng(options.seed, options.recipe, record.file)
        picture = resize(read_face(root, record), 256, 256)
        state = rng.bit_generator.state
        truth = obstruct(picture, [kind], picture, "clean", rng)
        rng.bit_generator.state = state
        poor = resize(obstruct(picture, [kind], picture, options.recipe, rng).picture, EDGE, EDGE)
        results = [restorer.image(poor, face) for restorer in restorers]
        found = results[0].faces[0].profile.obstructions
        assert found is not None  # protection is on
        drawn = resize(truth.extents[0][1], EDGE, EDGE) > 0.5
        inside = resize(protection(found, 256), EDGE, EDGE) >= 1
        covered.append(float(drawn.mean()))
        kept_of.append(float((inside & drawn).sum() / max(drawn.sum(), 1)))
        if inside.any():
            change = np.abs(results[0].pixels.astype(int) - poor)[inside]
            largest = max(largest, int(change.max()))
        embedded = [_embed(judge, p) for p in (truth.picture, *(r.pixels for r in results))]
        cosines.setdefault(kind, []).append([float(cosine(embedded[0], e)) for e in embedded[1:]])
    lines = [
        f"{options.faces} faces of `val`, recipe `{options.recipe}`, {np.mean(covered):.0%} of each crop covered.",
        "",
        "| obstruction | faces | judge's cosine, protected | not protected |",
        "|---|---|---|---|",
        *(
            f"| {kind} | {len(rows)} | {np.mean(rows, 0)[0]:.3f} | {np.mean(rows, 0)[1]:.3f} |"
            for kind, rows in cosines.items()
        ),
        "",
        f"Of the drawn obstructions {np.mean(kept_of):.0%} lie in the protected part; there the largest difference to "
        f"the input is {largest} grey levels.",
    ]
    facts = {"faces": options.faces, "weights": restorers[0].weights_hashes()}
    target = Path(options.dst) / "protecting.md"
    write_markdown(target, "Protecting obstructions", lines, facts)
    print("\n".join(lines))
    return target


def _embed(judge: OnnxRecogniser, picture: Pixels) -> torch.Tensor:
    values = torch.from_numpy(to_float(resize(picture, 256, 256))).permute(2, 0, 1)[None]
    return judge.embed_aligned(values)


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(ProtectingOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
