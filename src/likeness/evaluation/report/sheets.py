"""Sheets of the best, the middle and the worst faces of each method."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from likeness.evaluation.benchmarks.base import CROP, Benchmark
from likeness.evaluation.methods.base import INPUT, Method
from likeness.evaluation.protocol.faces import degraded_face
from likeness.evaluation.scores import Run, Scores
from likeness.ops.color import to_integer
from likeness.ops.resize import resize

EACH = 3
_LINE = 16  # height of a caption in pixels


def select_examples(values: np.ndarray, each: int = EACH) -> list[tuple[str, int]]:
    """Positions of the smallest, the middle and the largest of (N,) values, each at most once, with their label."""
    order = [int(i) for i in np.argsort(values, kind="stable") if np.isfinite(values[i])]
    middle = max(0, (len(order) - each) // 2)
    parts = {"best": order[:each], "median": order[middle : middle + each], "worst": order[::-1][:each][::-1]}
    labels: dict[int, str] = {}
    for label, places in parts.items():
        for place in places:
            labels.setdefault(place, label)
    return [(label, place) for place, label in labels.items()]


def write_sheets(
    folder: Path, benchmark: Benchmark, methods: Sequence[Method], scores: Scores, recipes: Sequence[str], seed: int
) -> list[Path]:
    """Writes a PNG a recipe and method: input | restored | truth, by the change of the embedder distance.

    The faces are restored again, as pictures are not kept while an evaluation runs.

    Returns:
        The files.
    """
    files = []
    for recipe in recipes:
        for method in (m for m in methods if m.name != INPUT):
            table, base = (scores.values.get(Run(recipe, name, CROP)) for name in (method.name, INPUT))
            if table is None or base is None:
                continue
            examples = select_examples(table["distance"] - base["distance"])
            samples = [benchmark.load(i) for _, i in examples]
            crops = [degraded_face(s, recipe, seed)[0] for s in samples]
            restored = [resize(to_integer(r), CROP, CROP) for r in method.run(crops)]
            sheet = Image.new("RGB", (3 * CROP, len(examples) * (CROP + _LINE)), "white")
            draw = ImageDraw.Draw(sheet)
            for row, ((label, i), sample, crop, image) in enumerate(
                zip(examples, samples, crops, restored, strict=True)
            ):
                top = row * (CROP + _LINE)
                caption = f"{label}: distance {base['distance'][i]:.3f} -> {table['distance'][i]:.3f}  {sample.name}"
                draw.text((2, top + 2), caption, fill="black")
                for column, picture in enumerate((to_integer(crop), image, sample.truth_256)):
                    sheet.paste(Image.fromarray(picture), (column * CROP, top + _LINE))
            folder.mkdir(parents=True, exist_ok=True)
            files.append(folder / f"{recipe}-{method.name}.png")
            sheet.save(files[-1])
    return files
