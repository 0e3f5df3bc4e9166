"""Degraded photos as they are: the route of each face, its figures before and after, and its identity.

There is no true picture, so nothing that compares with one is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from likeness.errors import ConfigError, DataError, InputError
from likeness.evaluation.benchmarks.base import CROP, View, content_hash, spread
from likeness.evaluation.config import EvaluateConfig
from likeness.evaluation.methods.base import INPUT, PIPELINE, MethodContext
from likeness.evaluation.methods.crops import photo_restorer
from likeness.evaluation.protocol.measures import Measures
from likeness.evaluation.protocol.setup import add_task, make_measures, progress_bar
from likeness.evaluation.report import provenance, tables
from likeness.evaluation.report.figures import plot, plot_routes
from likeness.evaluation.report.files import write_texts, writing
from likeness.evaluation.report.results import Results
from likeness.evaluation.report.summary import summarise
from likeness.evaluation.scores import Run, Scores
from likeness.log import get_logger
from likeness.media.files import kind_of
from likeness.media.folders import find_media
from likeness.media.images import read_image
from likeness.metrics.identity import cosine, embedding_distance
from likeness.ops.tensors import stack_crops
from likeness.pipeline.state import GuardedFace, RoutedFace, pasted
from likeness.stages.align import align
from likeness.stages.measure import measure
from likeness.types import Pixels, Profile

log = get_logger(__name__)

RECIPE = "as they are"
WITHOUT_TRUTH = (
    "PSNR, SSIM, GMSD, LPIPS, T-MSE and distances to the truth are not measured: these photos have no true picture. "
    "Identity is compared with the input, which a perfect restoration of a degraded photo does not match either."
)
CHANGES: Mapping[str, str] = {  # figure to the attribute of `Profile`
    "real_sharpness": "sharpness",
    "detail": "detail",
    "noise": "noise",
    "blocks": "blockiness",
}


def evaluate_photos(options: EvaluateConfig) -> Results:
    """Restores every photo of a folder at its own size and writes tables and figures into the output folder.

    Raises:
        LikenessError: one line that says which option, data or weights are missing or wrong.
    """
    if options.methods != [PIPELINE] or options.recipe != "clean":
        raise ConfigError(
            f"benchmark=real: got methods={options.methods}, recipe={options.recipe}; expected methods=[{PIPELINE}] "
            "and recipe=clean, as figures against a truth, and degraded inputs, need pictures that are good"
        )
    folder = options.data.folder(options.data.photos, "real_photos")
    if folder is None or not folder.is_dir():
        raise DataError(f"real: no folder {folder or ''}; set LIKENESS_DATA, or data.photos=DIR with photos")
    files = spread([f for f in find_media(folder) if kind_of(f) == "photo"], options.limit)
    if not files:
        raise DataError(f"real: no photo in {folder}; expected JPEG, PNG or others")
    restorer = photo_restorer(MethodContext(options.device, options.method_weights))
    measures, measuring_files, notes = make_measures(options)
    lines: list[dict[str, Any]] = []
    with progress_bar() as bar:
        advance = add_task(bar, "real", len(files))
        for file in files:
            try:
                pixels = read_image(file).frame.pixels
            except InputError as error:
                notes.append(f"Not read: {error}")
                continue
            finally:
                advance(1)
            result = restorer.image(pixels)
            name = str(file.relative_to(folder))
            lines += [face_line(name, k, pixels, result.pixels, f, measures) for k, f in enumerate(result.faces)]
    about = {"real": f"{len(files)} photos", "faces": len(lines)}
    hashes = {**provenance.weight_hashes(measuring_files), **restorer.weights_hashes()}
    names = [str(f.relative_to(folder)) for f in files]
    facts = provenance.describe(options, about, content_hash(files, names), hashes, notes, [RECIPE])
    return _write(options, lines, facts, [WITHOUT_TRUTH, *notes])


def face_line(
    file: str, number: int, before: Pixels, after: Pixels, face: RoutedFace, measures: Measures
) -> dict[str, Any]:
    """One face: its route, and every figure before and after.

    Args:
        file, number: which face.
        before, after: the photo and the result, of one size.
        face: from the pipeline.
        measures: whose recognisers compare.
    """
    crops = [align(pixels, face.face.landmarks[0], CROP) for pixels in (before, after)]
    profiles = [measure(pixels, crop) for pixels, crop in zip((before, after), crops, strict=True)]
    line: dict[str, Any] = {
        "file": file,
        "face": number,
        "route": face.decision.route,
        "reason": face.decision.reason,
        "verdict": face.verdict.verdict if isinstance(face, GuardedFace) and face.verdict else "",
        "restored": float(pasted(face) is not None),
        "width": profiles[0].width,
    }
    for name, attribute in CHANGES.items():
        for suffix, profile in zip(("before", "after"), profiles, strict=True):
            line[f"{name}_{suffix}"] = getattr(profile, attribute)
    pair = [stack_crops([crop.image], torch.device("cpu")) for crop in crops]
    line["distance"] = float(embedding_distance(*(measures.embed(p) for p in pair)))
    if measures.judge is not None:
        line["judge"] = float(cosine(*(measures.judge.embed_aligned(p) for p in pair)))
    return line


def to_scores(lines: Sequence[Mapping[str, Any]]) -> Scores:
    """Faces as the units of `Scores`: the row `input` is before, `pipeline` after."""
    count = len(lines)
    names = [f"{line['file']} face {line['face']}" for line in lines]
    scores = Scores(names, np.array([line["route"] for line in lines], dtype="U32"), {CROP: np.ones(count, bool)})
    compared = [name for name in ("distance", "judge") if name in lines[0]]
    for method, suffix in ((INPUT, "before"), (PIPELINE, "after")):
        values = {name: np.array([line[f"{name}_{suffix}"] for line in lines]) for name in CHANGES}
        if method == PIPELINE:
            values |= {name: np.array([line[name] for line in lines]) for name in (*compared, "restored")}
        scores.put(Run(RECIPE, method, CROP), np.arange(count), values, {})
    return scores


def _write(
    options: EvaluateConfig, lines: Sequence[Mapping[str, Any]], facts: dict[str, Any], notes: Sequence[str]
) -> Results:
    if not lines:
        raise DataError("real: no face was found in any photo; nothing to measure")
    scores = to_scores(lines)
    routes = sorted({str(line["route"]) for line in lines})
    views = [*(View(f"route {route}", CROP, route) for route in routes), View("all faces", CROP)]
    rows = summarise(scores, views, options.seed)
    folder, title = options.output_folder, "real photos"
    plain = [{k: tables.figure(v) if isinstance(v, float) else v for k, v in line.items()} for line in lines]
    texts = {
        "table.md": tables.to_markdown(rows, facts, title, notes),
        "table.csv": tables.to_csv(rows, facts),
        "table.json": tables.to_json(rows, facts),
        "faces.csv": tables.as_csv(plain, facts),
    }
    by_profile = {_profile(line): str(line["route"]) for line in lines}
    points = np.array([(p.width, p.qvol, p.sharpness, p.detail, p.blockiness, p.noise) for p in by_profile])
    with writing(folder):
        write_texts(folder, texts)
        plot([r for r in rows if r.view == "all faces"], title, folder / "all-faces.png")
        plot_routes({title: points}, lambda p: by_profile[p], title, folder / "routes.png")
    log.info("real, %d faces: %s", len(lines), folder / "table.md")
    return Results(rows, scores, facts, folder)


def _profile(line: Mapping[str, Any]) -> Profile:
    before = {attribute: float(line[f"{name}_before"]) for name, attribute in CHANGES.items()}
    return Profile(width=float(line["width"]), qvol=before["sharpness"], **before)
