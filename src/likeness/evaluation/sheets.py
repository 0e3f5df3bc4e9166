"""The faces behind the means: the best, the middle and the worst of each method, to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from likeness.data.faces import resize_face
from likeness.evaluation.benchmarks import Benchmark
from likeness.evaluation.methods import INPUT, Method
from likeness.evaluation.protocol import poor_face
from likeness.evaluation.scores import Run, Scores
from likeness.ops.color import to_integer

EACH = 3
_SIZE, _LINE = 256, 16


def picked(values: np.ndarray, each: int = EACH) -> list[tuple[str, int]]:
    """Positions of the smallest, the middle and the largest of (N,) values, each at most once, with their label."""
    order = [int(i) for i in np.argsort(values, kind="stable") if np.isfinite(values[i])]
    middle = max(0, (len(order) - each) // 2)
    parts = {"best": order[:each], "median": order[middle : middle + each], "worst": order[::-1][:each][::-1]}
    found: dict[int, str] = {}
    for label, places in parts.items():
        for place in places:
            found.setdefault(place, label)
    return [(label, place) for place, label in found.items()]


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
            own, base = (scores.values.get(Run(recipe, name, 256)) for name in (method.name, INPUT))
            if own is None or base is None:
                continue
            change = own["distance"] - base["distance"]
            rows = picked(change)
            samples = [benchmark.load(i) for _, i in rows]
            crops = [poor_face(s, recipe, seed)[0] for s in samples]
            restored = [resize_face(to_integer(r), _SIZE) for r in method.run(crops)]
            sheet = Image.new("RGB", (3 * _SIZE, len(rows) * (_SIZE + _LINE)), "white")
            draw = ImageDraw.Draw(sheet)
            for k, ((label, i), sample, crop, image) in enumerate(zip(rows, samples, crops, restored, strict=True)):
                top = k * (_SIZE + _LINE)
                told = f"{label}: distance {base['distance'][i]:.3f} -> {own['distance'][i]:.3f}  {sample.name}"
                draw.text((2, top + 2), told, fill="black")
                for column, picture in enumerate((to_integer(crop), image, sample.truth_256)):
                    sheet.paste(Image.fromarray(picture), (column * _SIZE, top + _LINE))
            folder.mkdir(parents=True, exist_ok=True)
            files.append(folder / f"{recipe}-{method.name}.png")
            sheet.save(files[-1])
    return files
