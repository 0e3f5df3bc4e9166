"""How well obstructions are marked: `python experiments/obstructions/marking.py faces=120`.

Over clean faces of held-out people obstructions are drawn as in training, and the marked pixels are compared with the
drawn ones. The same faces without any obstruction tell how much clean skin is marked. The time is that of one face on
one thread.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from likeness.data.attributes import read_attributes
from likeness.data.faces import read_face
from likeness.data.obstruction_module import UNCLEAN
from likeness.data.obstructions.samples import ObstructionSamples
from likeness.data.sources import ArraySource
from likeness.evaluation.benchmarks.faces import every_nth, face_folder, real_faces
from likeness.evaluation.report.provenance import weight_hashes, write_markdown
from likeness.nets.obstructions import CLASSES, INPUT_SIZE, ObstructionNet
from likeness.ops.color import to_float
from likeness.ops.mask import template_mask
from likeness.ops.resize import resize
from likeness.stages.obstructions import PROTECTED, classes, classify, protection
from likeness.tasks import arguments
from likeness.types import Obstructions
from likeness.weights.manifest import released
from likeness.weights.networks import load_network


@dataclass
class MarkingOptions:
    """Options of the command.

    Attributes:
        root: folder of aligned faces with a manifest; by default LIKENESS_DATA/faces.
        weights: of the network; empty = released.
        attributes: CSV that says over whose faces something lies already, of `val` by eye.
        dst: folder of the table.
        faces: real ones of `val` without glasses or objects, at even steps.
        samples: drawn ones.
        seed: of the samples.
    """

    root: str = ""
    weights: str = ""
    attributes: str = "experiments/labels/by_eye.csv"
    dst: str = "experiments/obstructions"
    faces: int = 120
    samples: int = 240
    seed: int = 1


def drawn_overlaps(net: ObstructionNet, source: ArraySource, count: int, seed: int) -> npt.NDArray[np.int64]:
    """(7, 3) pixels of each class: marked rightly, marked, and there."""
    counts = np.zeros((len(CLASSES), 3), np.int64)
    samples = ObstructionSamples(source, None, seed, count)
    for number in range(count):
        sample = samples[number]
        valid = sample["valid"].numpy()
        found = classes(classify(net, [to_float(sample["input"].numpy())])[0])[valid]
        true = sample["labels"].numpy()[valid]
        for i, values in enumerate((true[found == true], found, true)):
            counts[:, i] += np.bincount(values, minlength=len(CLASSES))
    return counts


def clean_marks(net: ObstructionNet, source: ArraySource) -> npt.NDArray[np.float64]:
    """(N, 8): fraction of each clean face that is marked, by class, and at last that of its protection."""
    face, rows = template_mask(INPUT_SIZE) > 0.5, []
    for index in range(len(source)):
        probabilities = classify(net, [to_float(resize(source.face(index), INPUT_SIZE, INPUT_SIZE))])[0]
        inside = classes(probabilities)[face]
        kept = protection(Obstructions(probabilities, {}), INPUT_SIZE)[face]
        rows.append([*((inside == i).mean() for i in range(len(CLASSES))), kept.mean()])
    return np.array(rows)


def run(options: MarkingOptions) -> Path:
    """Measures and writes the table."""
    root = face_folder(options.root)
    known = read_attributes(options.attributes)
    clean = [r for r in real_faces(root) if not known.get(r.file, frozenset()) & UNCLEAN]
    records = every_nth(clean, options.faces)
    source = ArraySource(np.stack([read_face(root, r) for r in records]), records)
    file = Path(options.weights) if options.weights else released("obstructions")
    net = cast(ObstructionNet, load_network("obstructions", file)[0].eval())
    counts = drawn_overlaps(net, source, options.samples, options.seed)
    marks = clean_marks(net, source)
    picture = to_float(resize(source.face(0), INPUT_SIZE, INPUT_SIZE))
    start = time.perf_counter()
    for _ in range(20):
        classify(net, [picture])
    spent = (time.perf_counter() - start) / 20 * 1000
    right, marked, there = counts.T
    lines = [
        f"Drawn over {len(records)} clean faces of `val`, {options.samples} samples; pixels of all samples together.",
        "",
        "| class | F1 | IoU | precision | recall | clean skin marked |",
        "|---|---|---|---|---|---|",
    ]
    for i, name in enumerate(CLASSES[1:], 1):
        precision, recall = right[i] / max(marked[i], 1), right[i] / max(there[i], 1)
        f1, iou = 2 * right[i] / max(marked[i] + there[i], 1), right[i] / max(marked[i] + there[i] - right[i], 1)
        lines.append(f"| {name} | {f1:.2f} | {iou:.2f} | {precision:.2f} | {recall:.2f} | {marks[:, i].mean():.2%} |")
    held = marks[:, [CLASSES.index(name) for name in PROTECTED]].sum(1)
    lines += [
        "",
        f"Of clean skin {1 - marks[:, 0].mean():.2%} is marked, {held.mean():.2%} as {', '.join(PROTECTED)}; "
        f"{marks[:, -1].mean():.2%} would be protected, and something in {(marks[:, -1] > 0).mean():.0%} of the faces.",
        "",
        f"One face takes {spent:.1f} ms on one thread.",
    ]
    facts = {"faces": len(records), "samples": options.samples, "weights": weight_hashes({"obstructions": file})}
    target = Path(options.dst) / "marking.md"
    write_markdown(target, "Marking obstructions", lines, facts)
    print("\n".join(lines))
    return target


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(MarkingOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
