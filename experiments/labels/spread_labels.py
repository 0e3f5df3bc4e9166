"""Spreads labels given by eye over all training faces: `python experiments/labels/spread_labels.py`.

A linear probe for each attribute learns from the labelled faces of `train`; its balanced accuracy is measured on those
of `val`, which it never saw. Features: the embedder's, Expert-F's on its way down (at half the size), and those of an
ImageNet network (LPIPS's backbone), each over a coarse grid. Cross-validation on `train` chooses among them.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from rich.progress import track
from torch import Tensor

from likeness.data.attributes import ATTRIBUTES
from likeness.data.faces import FaceRecord, read_face, read_manifest
from likeness.errors import DataError, needs_extra
from likeness.evaluation.benchmarks.faces import face_folder
from likeness.evaluation.report import provenance
from likeness.evaluation.report.statistics import bootstrap
from likeness.metrics.lpips import backbone_file
from likeness.nets.expert_f import ExpertF
from likeness.nets.face_embedder import FaceEmbedder, load_embedder
from likeness.tasks import arguments
from likeness.weights.files import read_tensors
from likeness.weights.networks import load_network

Array = npt.NDArray[np.float32]
Values = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
STRENGTHS = (0.3, 1.0, 3.0, 10.0)  # of the fit, inverse regularisation
COMBINATIONS = (
    ("embedder", "expert"),
    ("embedder", "expert", "objects"),
    ("objects",),
    ("top",),
    ("top", "embedder"),
)


@dataclass
class LabelsOptions:
    """Options of the command.

    Attributes:
        root: folder of aligned faces with a manifest; by default LIKENESS_DATA/faces.
        labels: CSV of labels by eye: file, split, sample (drawn, or how else it was found), attributes, judged.
        dst: folder of the table, and of `attributes.csv`: the attributes of every training face that has any.
        seed: of the cross-validation.
    """

    root: str = ""
    labels: str = "experiments/labels/by_eye.csv"
    dst: str = "experiments/labels"
    seed: int = 0


@dataclass(frozen=True)
class Labelled:
    """One face labelled by eye.

    Attributes:
        drawn: whether it was drawn at random.
        attributes: those that it has.
        judged: those that were looked for; of the others nothing is known.
    """

    file: str
    split: str
    drawn: bool
    attributes: frozenset[str]
    judged: frozenset[str] = frozenset(ATTRIBUTES)


def read_labels(file: Path | str) -> list[Labelled]:
    """Reads the labels given by eye; an empty cell in the column `judged`, or none such, means all attributes.

    Raises:
        DataError: if the file cannot be read, lacks a column, names an unknown attribute or one that was not judged.
    """
    try:
        with Path(file).open(newline="") as handle:
            rows = list(csv.DictReader(handle))
        found = [
            Labelled(
                r["file"],
                r["split"],
                r["sample"] == "drawn",
                frozenset((r["attributes"] or "").split()),
                frozenset((r.get("judged") or " ".join(ATTRIBUTES)).split()),
            )
            for r in rows
        ]
    except (OSError, KeyError, UnicodeDecodeError) as error:
        raise DataError(f"labels: {file} cannot be read ({error}); expected file, split, sample, attributes") from error
    unknown = sorted({a for face in found for a in face.attributes | face.judged} - set(ATTRIBUTES))
    if unknown or not found:
        raise DataError(f"labels: {file} names {unknown or 'no faces'}; expected some of {', '.join(ATTRIBUTES)}")
    if wrong := [face.file for face in found if face.attributes - face.judged]:
        raise DataError(f"labels: {file} gives {wrong[0]} an attribute that it was not judged for; mend either column")
    return found


@torch.inference_mode()
def features_of(root: Path, records: Sequence[FaceRecord]) -> dict[str, Array]:
    """Features of every face, (N, D) each, by the name of their network.

    Raises:
        WeightsError: if the ImageNet network's file is missing.
    """
    from torchvision.models import squeezenet1_1

    expert = cast(ExpertF, load_network("expert_f")[0]).eval()
    embedder, objects = load_embedder(), squeezenet1_1()
    objects.load_state_dict(read_tensors(backbone_file()))
    objects.eval()
    found: dict[str, list[Array]] = {}
    for start in track(range(0, len(records), 16), "features", disable=not sys.stderr.isatty()):
        pixels = [torch.from_numpy(read_face(root, r, 256).copy()) for r in records[start : start + 16]]
        faces = torch.stack(pixels).permute(0, 3, 1, 2).float() / 255
        for name, values in _features(faces, expert, embedder, objects.features).items():
            found.setdefault(name, []).append(values.flatten(1).numpy().astype(np.float32))
    return {name: np.concatenate(values) for name, values in found.items()}


def _features(faces: Tensor, expert: ExpertF, embedder: FaceEmbedder, objects: torch.nn.Module) -> dict[str, Tensor]:
    """Of (B, 3, 256, 256) in [0, 1]."""
    mean, spread = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    maps = objects((F.interpolate(faces, size=224, mode="bilinear", antialias=True) - mean) / spread)
    return {
        "embedder": embedder.embed_aligned(faces),
        "expert": F.adaptive_avg_pool2d(expert.encode(F.avg_pool2d(faces, 2))[2], 8),
        "objects": F.adaptive_avg_pool2d(maps, 4),
        "top": F.adaptive_avg_pool2d(maps[:, :, :6], (2, 3)),  # hair and what is worn on it
    }


@dataclass(frozen=True)
class Probe:
    """A linear probe of one attribute.

    Attributes:
        features, strength: what cross-validation chose.
        weights, offset: scores above 0 mean that a face has the attribute.
        chosen_at: balanced accuracy in cross-validation.
    """

    features: tuple[str, ...]
    strength: float
    weights: Values
    offset: float
    chosen_at: float

    def scores(self, features: Mapping[str, Array]) -> Values:
        """(N,)."""
        return np.asarray(joined(features, self.features) @ self.weights + self.offset, np.float64)


def joined(features: Mapping[str, Array], names: Sequence[str]) -> Array:
    """(N, D), every network's share of the length alike whatever its dimensions."""
    return np.concatenate([features[name] / np.sqrt(features[name].shape[1]) for name in names], 1)


def standardised(features: Mapping[str, Array], reference: Flags) -> dict[str, Array]:
    """Every dimension with mean 0 and spread 1 over the faces of `reference` (N,)."""
    return {n: (v - v[reference].mean(0)) / (v[reference].std(0) + 1e-6) for n, v in features.items()}


def balanced_accuracy(has: Flags, predicted: Flags) -> float:
    """Mean of the shares of hits among those that have it and those that have not."""
    return float((predicted[has].mean() + (~predicted[~has]).mean()) / 2)


def span(values: Array) -> tuple[Values, Values]:
    """Coordinates (N, K) of the rows in the space that they span, and its axes (D, K), orthonormal.

    A fit with a penalty on the length of its weights is the same in them, and quicker where D is above N.
    """
    lengths, directions = np.linalg.eigh(np.asarray(values @ values.T, np.float64))
    kept = lengths > 1e-6 * lengths[-1]
    roots = np.sqrt(lengths[kept])
    return directions[:, kept] * roots, values.T @ (directions[:, kept] / roots)


def threshold(scores: Values, has: Flags) -> float:
    """The score at which having and not having are as likely, both counted alike (after Platt 1999).

    A logistic curve over all (N,) scores; the single score at which the accuracy is highest depends on a few faces.
    """
    from sklearn.linear_model import LogisticRegression

    curve = LogisticRegression(C=1e4, class_weight="balanced").fit(scores[:, None], has)
    slope = float(curve.coef_[0, 0])
    # A probe that is no better than chance has no such score, and any border serves it.
    return -float(curve.intercept_[0]) / slope if slope > 0 else float(np.median(scores))


def fit(
    features: Mapping[str, Array], has: Flags, drawn: Flags, combinations: Sequence[tuple[str, ...]], seed: int
) -> Probe:
    """Chooses features, strength and threshold by tenfold cross-validation, and fits on all faces.

    Args:
        features: (N, D) each, standardised.
        has: (N,), the labels.
        drawn: (N,), the faces that were drawn at random; only they count in choosing.
        combinations: names of features to choose among.
        seed: of the folds.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds, best = StratifiedKFold(10, shuffle=True, random_state=seed), None
    for names in combinations:
        values, axes = span(joined(features, names))
        for strength in STRENGTHS:
            model = LogisticRegression(C=strength, class_weight="balanced", max_iter=1000)
            scores = cross_val_predict(model, values, has, cv=folds, method="decision_function")
            border = threshold(scores[drawn], has[drawn])
            reached = balanced_accuracy(has[drawn], scores[drawn] >= border)
            if best is None or reached > best.chosen_at:
                model.fit(values, has)
                offset = float(model.intercept_[0]) - border
                best = Probe(names, strength, axes @ model.coef_[0], offset, reached)
    assert best is not None
    return best


def row(
    attribute: str, probe: Probe, has: npt.NDArray[np.bool_], predicted: npt.NDArray[np.bool_], learned: int
) -> str:
    """A line of the table: the probe's accuracy on held-back faces."""

    def accuracy(m: Values) -> Values:
        return (m[:, 0] / m[:, 1] + m[:, 2] / m[:, 3]) / 2

    counts = np.stack([has & predicted, has, ~has & ~predicted, ~has], 1).astype(np.float64)
    found = bootstrap(accuracy, counts)
    cells = [
        attribute,
        str(learned),
        str(int(has.sum())),
        f"**{found.value:.3f}** [{found.low:.3f}, {found.high:.3f}]",
        f"{predicted[has].mean():.2f}",
        f"{(~predicted[~has]).mean():.2f}",
        f"{probe.chosen_at:.3f}",
        f"{' + '.join(probe.features)}, {probe.strength:g}",
    ]
    return f"| {' | '.join(cells)} |"


def run(options: LabelsOptions) -> None:
    """Fits, measures, and writes the table and the attributes.

    Raises:
        DataError: where no faces are named, or the labels do not fit the manifest.
        ConfigError: if scikit-learn is missing.
    """
    with needs_extra("dev", "labels"):
        import sklearn  # noqa: F401
    root = face_folder(options.root)
    labelled = {face.file: face for face in read_labels(options.labels)}
    records = [r for r in read_manifest(root) if r.kind == "real" and (r.split == "train" or r.file in labelled)]
    missing = set(labelled) - {r.file for r in records}
    if missing:
        raise DataError(f"labels: {root} lacks {len(missing)} labelled faces, {min(missing)} first; give their folder")
    train = np.array([r.split == "train" for r in records])
    features = standardised(features_of(root, records), train)
    drawn = np.array([r.file in labelled and labelled[r.file].drawn for r in records])
    assigned: list[set[str]] = [set() for _ in records]
    lines = []
    for attribute in track(ATTRIBUTES, "probes", disable=not sys.stderr.isatty()):
        has = np.array([attribute in labelled[r.file].attributes if r.file in labelled else False for r in records])
        known = np.array([r.file in labelled and attribute in labelled[r.file].judged for r in records])
        learned, held = known & train, known & ~train
        probe = fit(
            {n: v[learned] for n, v in features.items()}, has[learned], drawn[learned], COMBINATIONS, options.seed
        )
        predicted = probe.scores(features) > 0
        lines.append(row(attribute, probe, has[held], predicted[held], int(has[learned].sum())))
        for i in np.flatnonzero(np.where(known, has, predicted) & train):
            assigned[i].add(attribute)
    write(Path(options.dst), [(r.file, t) for r, t in zip(records, assigned, strict=True) if t], lines)


def write(folder: Path, assigned: Sequence[tuple[str, set[str]]], lines: Sequence[str]) -> None:
    """Writes `attributes.csv` and `table.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "attributes.csv").open("w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["file", "attributes"])
        writer.writerows([file, " ".join(a for a in ATTRIBUTES if a in found)] for file, found in sorted(assigned))
    counts: dict[str, Any] = {a: sum(a in found for _, found in assigned) for a in ATTRIBUTES}
    columns = ("attribute", "learned from", "held back", "balanced accuracy", "hits", "rejections", "in folds", "probe")
    head = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    tail = [
        "",
        "Training faces that have it, by eye or by the probe: " + ", ".join(f"{n} {a}" for a, n in counts.items()),
    ]
    provenance.write_markdown(
        folder / "table.md", "Labels by probe, on held-back labels by eye", [*head, *lines, *tail]
    )


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(LabelsOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
