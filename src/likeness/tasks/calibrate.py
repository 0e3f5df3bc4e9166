"""Fits the bounds of the identity guard and of the router: `python -m likeness.tasks.calibrate`.

On `calib` faces, which no network was trained on, it simulates photos of faces of many widths and qualities, measures
them as the pipeline does, and writes

* the identity guard's bounds by measured sharpness: the 95th percentile of the distance between a face and its
  degraded self, and the 5th percentile of the distance between different people;
* `q_low`: the sharpness that best separates good (undegraded, mild) from degraded (heavy) faces of width 100-150;
* the bounds of `large_but_bad`: 5 % of the undegraded faces of width 150 and more exceed one of them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from rich.progress import track

from likeness.data.faces import FaceRecord, read_face
from likeness.data.photos import simulate_photo
from likeness.errors import DataError
from likeness.evaluation.benchmarks.faces import face_folder, real_faces
from likeness.log import get_logger
from likeness.nets.face_embedder import load_embedder
from likeness.nets.recogniser import open_recogniser
from likeness.ops.color import to_float
from likeness.stages.align import align
from likeness.stages.identity import embed
from likeness.stages.measure import measure
from likeness.tasks import arguments
from likeness.types import FloatArray, Profile
from likeness.weights.files import file_hash

log = get_logger(__name__)
RECIPES = ("clean", "mild", "gfpgan", "heavy")
LARGE = 150.0


@dataclass
class CalibrateOptions:
    """Options of the command.

    Attributes:
        root: folder of aligned faces with a manifest; by default LIKENESS_DATA/faces.
        dst: the JSON file to write.
        figures: folder of the plots and of the table.
        limit: faces used, 0 = all real ones of `calib`.
        widths: number of widths per face and recipe.
        seed: of widths and degradations.
        recogniser: an ONNX file to fit the guard's bounds for, instead of the embedder.
    """

    root: str = ""
    dst: str = "data/weights/calibration.json"
    figures: str = "experiments/calibrate"
    limit: int = 0
    widths: int = 2
    seed: int = 0
    recogniser: str = ""


@dataclass(frozen=True)
class Sample:
    """One simulated photo: number of the person, recipe, profile, and both embeddings."""

    person: int
    recipe: str
    profile: Profile
    degraded: FloatArray
    clean: FloatArray


def collect(root: Path, records: Sequence[FaceRecord], options: CalibrateOptions) -> list[Sample]:
    """Simulates and measures photos; undegraded wide ones only of faces that are sharp at 512."""
    embedder = open_recogniser(options.recogniser, "recogniser") if options.recogniser else load_embedder()
    samples = []
    for person, record in enumerate(track(records, "measuring", disable=not sys.stderr.isatty())):
        truth = read_face(root, record)
        clean = embed(embedder, to_float(truth)).numpy()
        for which, recipe in enumerate(RECIPES):
            rng = np.random.default_rng([options.seed, person, which])
            for draw in range(options.widths):
                low, high = ((50, LARGE), (LARGE, 250))[draw % 2]
                width = float(rng.uniform(low, high))
                if recipe == "clean" and width >= LARGE and not record.sharp:
                    continue
                photo, landmarks = simulate_photo(truth, width, recipe, rng)
                crop = align(photo, landmarks, 256)
                samples.append(Sample(person, recipe, measure(photo, crop), embed(embedder, crop.image).numpy(), clean))
    return samples


def fit_guard(samples: Sequence[Sample], bins: int = 10) -> dict[str, Any]:
    """Percentiles of both distances in bins of equal count over sharpness."""
    sharpness = np.array([s.profile.sharpness for s in samples])
    clean = {s.person: s.clean for s in samples}
    people, faces = np.array(list(clean)), np.stack(list(clean.values()))
    order = np.argsort(sharpness, kind="stable")
    knots, same95, other05, counts = [], [], [], []
    for part in np.array_split(order, bins):
        same, other = [], []
        for i in part:
            distances = np.linalg.norm(faces - samples[i].degraded, axis=1)
            same_person = people == samples[i].person
            same.append(float(distances[same_person][0]))
            other.extend(distances[~same_person])
        knots.append(float(np.median(sharpness[part])))
        same95.append(float(np.percentile(same, 95)))
        other05.append(float(np.percentile(other, 5)))
        counts.append(len(part))
    # Equal knots (many faces of sharpness 0) make the interpolation ambiguous.
    keep = [i for i in range(bins) if i == bins - 1 or knots[i + 1] > knots[i]]
    return {
        "sharpness": [knots[i] for i in keep],
        "same95": [same95[i] for i in keep],
        "other05": [other05[i] for i in keep],
        "counts": [counts[i] for i in keep],
    }


def fit_q_low(samples: Sequence[Sample]) -> dict[str, float]:
    """The sharpness at which the fraction of good faces below equals that of degraded faces above (equal error)."""
    middle = [s for s in samples if 100 <= s.profile.width < LARGE]
    good = np.array([s.profile.sharpness for s in middle if s.recipe in ("clean", "mild")])
    degraded = np.array([s.profile.sharpness for s in middle if s.recipe == "heavy"])
    if len(good) < 5 or len(degraded) < 5:
        raise DataError(
            f"calibrate: {len(good)} good and {len(degraded)} degraded faces of width 100-150; give more faces"
        )
    cuts = np.unique(np.concatenate([good, degraded]))
    gap = [abs(float((good < c).mean()) - float((degraded >= c).mean())) for c in cuts]
    best = float(cuts[int(np.argmin(gap))])
    return {
        "q_low": best,
        "good_below": float((good < best).mean()),
        "heavy_above": float((degraded >= best).mean()),
    }


def fit_large(samples: Sequence[Sample], fraction: float = 0.05) -> dict[str, float]:
    """Bounds at one common quantile such that `fraction` of the undegraded wide faces exceed any of them."""
    wide = [s for s in samples if s.profile.width >= LARGE - 1]

    def table(recipe: str) -> npt.NDArray[np.float64]:
        # Signed so that larger is worse in every column.
        rows = [(-s.profile.detail, s.profile.blockiness, s.profile.noise) for s in wide if s.recipe == recipe]
        return np.array(rows, np.float64).reshape(-1, 3)

    clean, heavy = table("clean"), table("heavy")
    if len(clean) < 20 or len(heavy) < 20:
        raise DataError(f"calibrate: {len(clean)} undegraded and {len(heavy)} heavy wide faces; give more faces")
    low, high = 0.0, fraction
    for _ in range(40):
        level = (low + high) / 2
        bounds = np.quantile(clean, 1 - level, axis=0)
        if float((clean > bounds).any(1).mean()) > fraction:
            high = level
        else:
            low = level
    bounds = np.quantile(clean, 1 - low, axis=0)
    return {
        "detail_low": float(-bounds[0]),
        "blockiness_high": float(bounds[1]),
        "noise_high": float(bounds[2]),
        "undegraded_exceed": float((clean > bounds).any(1).mean()),
        "heavy_exceed": float((heavy > bounds).any(1).mean()),
    }


def plot(samples: Sequence[Sample], fitted: dict[str, Any], folder: Path) -> None:
    """Plots the guard's bounds over the samples, and sharpness by recipe with q_low."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    drawing, (left, right) = plt.subplots(1, 2, figsize=(12, 4.5))
    guard = fitted["guard"]
    for recipe in RECIPES:
        part = [s for s in samples if s.recipe == recipe]
        x = [1 + s.profile.sharpness for s in part]
        left.scatter(x, [np.linalg.norm(s.degraded - s.clean) for s in part], s=3, alpha=0.4, label=recipe)
        middle = [s.profile.sharpness for s in part if 100 <= s.profile.width < LARGE]
        right.hist(np.log10(1 + np.array(middle)), bins=30, histtype="step", label=recipe)
    knots = 1 + np.array(guard["sharpness"])
    left.plot(knots, guard["same95"], "k-", label="same person, 95th percentile")
    left.plot(knots, guard["other05"], "k--", label="other people, 5th percentile")
    left.set(xscale="log", xlabel="1 + sharpness", ylabel="embedder distance, degraded to clean")
    right.axvline(np.log10(1 + fitted["route"]["q_low"]), color="k", label="q_low")
    right.set(xlabel="log10(1 + sharpness), width 100-150", ylabel="faces")
    for axis in (left, right):
        axis.legend(fontsize=7)
    drawing.tight_layout()
    drawing.savefig(folder / "calibration.png", dpi=90)
    plt.close(drawing)


def calibrate(options: CalibrateOptions, root: Path) -> dict[str, Any]:
    """Collects, fits, writes and plots; returns the content of the file."""
    records = real_faces(root, options.limit, "calib")
    cv2.setNumThreads(1)
    samples = collect(root, records, options)
    fitted: dict[str, Any] = {
        "version": 1,
        "command": " ".join(["python -m likeness.tasks.calibrate", *sys.argv[1:]]),
        "options": {k: v for k, v in asdict(options).items() if k not in ("root", "dst", "figures", "recogniser")},
        "faces": len(records),
        "samples": len(samples),
        "guard": {**fit_guard(samples), "recogniser": file_hash(options.recogniser) if options.recogniser else ""},
        "route": {**fit_q_low(samples), **fit_large(samples)},
    }
    target = Path(options.dst)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(fitted, indent=1) + "\n")
    plot(samples, fitted, Path(options.figures))
    return fitted


def run(options: CalibrateOptions) -> None:
    """Calibrates and prints the router's bounds.

    Raises:
        DataError: where no faces are named.
    """
    fitted = calibrate(options, face_folder(options.root))
    print(json.dumps(fitted["route"], indent=1))


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(CalibrateOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
