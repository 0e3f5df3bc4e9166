"""Fits the quality of a face's profile: `python -m likeness.tasks.fit_quality`.

On `calib` faces, which no network was trained on, it simulates photos of many widths by every recipe, restores them as
the pipeline does, and measures the identity distance to the true face. A logistic regression then predicts that
distance from the profile. No weight may be positive: what looks clearer never has the lower quality.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from rich.progress import track
from scipy.optimize import minimize

from likeness.data.faces import FaceRecord, read_face, read_manifest
from likeness.data.photos import draw_rng, simulate_photo
from likeness.errors import DataError
from likeness.evaluation.benchmarks.faces import face_folder, real_faces
from likeness.log import get_logger
from likeness.ops.geometry import resized
from likeness.pipeline.config import from_overrides
from likeness.pipeline.restorer import Restorer
from likeness.pipeline.state import RoutedFace, pasted
from likeness.stages.align import align, align_with
from likeness.stages.identity import distance, embed
from likeness.stages.measure import measure
from likeness.stages.profile import FEATURES, QualityFit, profile_face, quality_features
from likeness.tasks import arguments
from likeness.types import FaceProfile, FloatArray, Pixels

log = get_logger(__name__)
RECIPES = ("clean", "mild", "gfpgan", "heavy")
WIDTHS = (40.0, 220.0)
NOTHING = QualityFit(dict.fromkeys(FEATURES, 0.0), 0.0)
Array = npt.NDArray[np.float64]


@dataclass
class FitQualityOptions:
    """Options of the command.

    Attributes:
        root: folder of aligned faces with a manifest; by default LIKENESS_DATA/faces.
        dst: the JSON file to write.
        samples: CSV file of what restoring left; those in it are not restored again. Empty keeps none.
        limit: faces used, 0 = all real ones of `calib`.
        seed: of widths and degradations.
    """

    root: str = ""
    dst: str = "data/weights/quality.json"
    samples: str = ""
    limit: int = 72
    seed: int = 0


@dataclass(frozen=True)
class Sample:
    """One simulated photo that was restored.

    Attributes:
        file: of the face, below the manifest's folder.
        recipe: of the photo.
        landmarks: (5, 2) as they were detected.
        distance: of the embedder between the restored and the true face.
    """

    file: str
    recipe: str
    landmarks: FloatArray
    distance: float


def simulated(truth: Pixels, file: str, recipe: str, seed: int) -> Pixels:
    """A photo of a face, its width spread evenly over the logarithm of `WIDTHS`."""
    rng = draw_rng(seed, recipe, file)
    return simulate_photo(truth, float(np.exp(rng.uniform(*np.log(WIDTHS)))), recipe, rng)[0]


def restored_samples(root: Path, records: Sequence[FaceRecord], samples: Path | None, seed: int) -> list[Sample]:
    """Restores the photos of all faces; those without a detected face are left out.

    Args:
        root: folder with the manifest.
        records: the faces.
        samples: CSV file with what was restored before, which is added to; None keeps none.
        seed: of the photos.
    """
    known = _read(samples) if samples and samples.is_file() else {}
    restorer = Restorer(from_overrides(["upscale=1", "background.name=lanczos"]))
    for record in track(records, "restoring", disable=not sys.stderr.isatty()):
        recipes = [recipe for recipe in RECIPES if (record.file, recipe) not in known]
        truth = read_face(root, record) if recipes else np.zeros(0)
        rows = {(record.file, r): _restored(restorer, truth, simulated(truth, record.file, r, seed)) for r in recipes}
        known |= rows
        if samples and rows:
            _append(samples, rows)
    names = {record.file for record in records}
    found = [
        Sample(file, recipe, np.array(values[1:], np.float32).reshape(5, 2), values[0])
        for (file, recipe), values in known.items()
        if values and file in names
    ]
    log.info("%d photos restored, no face found in %d more", len(found), len(records) * len(RECIPES) - len(found))
    return found


def _restored(restorer: Restorer, truth: Pixels, photo: Pixels) -> list[float]:
    """Distance and landmarks of the face nearest to the middle; empty where none is found."""
    middle = len(photo) / 2
    faces: list[RoutedFace] = sorted(
        restorer.image(photo).faces, key=lambda f: float(np.linalg.norm(f.points.mean(0) - middle))
    )
    if not faces:
        return []
    face, embedder = faces[0], restorer.models.embedder
    used = pasted(face)
    final = face.crop.image if used is None or used.final is None else used.final
    true = align_with(truth, resized(face.crop.matrix, source=len(truth) / len(photo)), face.crop.size).image
    left = distance(embed(embedder, true), embed(embedder, final))
    return [left, *face.face.landmarks[0].astype(float).reshape(-1)]


def _append(file: Path, rows: dict[tuple[str, str], list[float]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", newline="") as handle:
        csv.writer(handle).writerows([*key, *(f"{v:.5g}" for v in values)] for key, values in rows.items())


def _read(file: Path) -> dict[tuple[str, str], list[float]]:
    with file.open(newline="") as handle:
        return {(row[0], row[1]): [float(v) for v in row[2:]] for row in csv.reader(handle)}


def profiled(
    root: Path, samples: Sequence[Sample], seed: int, fit: QualityFit = NOTHING
) -> Iterator[tuple[Sample, FaceProfile]]:
    """The profiles of the photos of samples."""
    records = {record.file: record for record in read_manifest(root)}
    for sample in samples:
        photo = simulated(read_face(root, records[sample.file]), sample.file, sample.recipe, seed)
        crop = align(photo, sample.landmarks, 256)
        yield sample, profile_face(photo, crop, sample.landmarks, measure(photo, crop), fit)


def fit_quality(features: Array, distances: Array, ridge: float = 0.03) -> QualityFit:
    """Logistic regression of (N,) distances on (N, F) features in the order of `FEATURES`, without positive weights.

    Args:
        features: as `quality_features` gives them.
        distances: 0..1; larger ones count as 1.
        ridge: of the weights of standardised features, against the mean cross-entropy.

    Raises:
        DataError: for fewer than ten samples a feature.
    """
    if len(features) < 10 * len(FEATURES):
        raise DataError(f"quality: got {len(features)} samples, expected {10 * len(FEATURES)} or more; give more faces")
    mean, spread = features.mean(0), np.maximum(features.std(0), 1e-6)
    x, y = (features - mean) / spread, distances.clip(0, 1)

    def loss(w: Array) -> tuple[float, Array]:
        logits = x @ w[1:] + w[0]
        error = 1 / (1 + np.exp(-logits)) - y
        value = np.logaddexp(0, logits).mean() - (y * logits).mean() + ridge / 2 * np.square(w[1:]).sum()
        return float(value), np.concatenate([[error.mean()], x.T @ error / len(y) + ridge * w[1:]])

    bounds = [(None, None), *((None, 0) for _ in FEATURES)]
    w = minimize(loss, np.zeros(1 + len(FEATURES)), jac=True, bounds=bounds, method="L-BFGS-B").x
    weights = w[1:] / spread
    return QualityFit(dict(zip(FEATURES, weights.tolist(), strict=True)), float(w[0] - weights @ mean))


def table(pairs: Sequence[tuple[Sample, FaceProfile]]) -> tuple[Array, Array]:
    """(N, F) features and (N,) distances."""
    rows = [[*quality_features(profile).values(), sample.distance] for sample, profile in pairs]
    values = np.array(rows, np.float64)
    return values[:, :-1], values[:, -1]


def run(options: FitQualityOptions) -> None:
    """Restores, fits and writes the file.

    Raises:
        DataError: where no faces are named, or too few.
    """
    cv2.setNumThreads(1)
    root = face_folder(options.root)
    records = real_faces(root, options.limit, "calib")
    samples = restored_samples(root, records, Path(options.samples) if options.samples else None, options.seed)
    fit = fit_quality(*table(list(profiled(root, samples, options.seed))))
    content = {
        "version": 1,
        "command": f"python -m likeness.tasks.fit_quality limit={options.limit} seed={options.seed}",
        "faces": len(records),
        "samples": len(samples),
        **asdict(fit),
    }
    target = Path(options.dst)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(content, indent=1) + "\n")


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(FitQualityOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
