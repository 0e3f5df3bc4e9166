"""How well real obstructions are marked: `python experiments/obstructions/polygons.py`.

What lies over fifty real faces was outlined by eye (`polygons.json`). The network's marks, and those that circles and
colour thresholds give, are compared with the outlines at the network's size.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from likeness.data.faces import FaceRecord, read_face, read_manifest, valid_mask
from likeness.data.obstructions.layers import fill, label, stroke
from likeness.errors import DataError
from likeness.evaluation.benchmarks.faces import face_folder
from likeness.evaluation.report.provenance import weight_hashes, write_markdown
from likeness.evaluation.report.statistics import Array, Interval, bootstrap, mean
from likeness.evaluation.report.tables import interval_text
from likeness.media.images import read_image
from likeness.nets.obstructions import CLASSES, INPUT_SIZE, ObstructionNet
from likeness.ops.color import to_float, to_integer
from likeness.ops.geometry import similarity, template, warp
from likeness.ops.mask import template_mask
from likeness.stages.align import align
from likeness.stages.obstructions import PROTECTED, classes, mark
from likeness.tasks import arguments
from likeness.types import FloatArray, Mask, Pixels
from likeness.weights.manifest import released
from likeness.weights.networks import load_network

Labels = npt.NDArray[np.uint8]

OUTLINED_AT = 512  # edge of the crop in whose pixels the outlines are given
CROP = 256  # edge of the pipeline's crop, from which the network's input is made
IGNORED = 255  # label of pixels that do not count
LABELS = {**{name: i for i, name in enumerate(CLASSES)}, "ignore": IGNORED}
BY_THRESHOLDS = ("mask", "hair", "glasses")  # later ones lie over earlier ones
SEEN = 60  # pixels of 128 x 128 from which a picture counts as marked; `protection` drops smaller patches


@dataclass
class PolygonsOptions:
    """Options of the command.

    Attributes:
        root: folder with faces/ and real_photos/; by default LIKENESS_DATA.
        weights: of the network; empty = released.
        outlines: JSON of what lies over which face.
        dst: folder of the table.
    """

    root: str = ""
    weights: str = ""
    outlines: str = "experiments/obstructions/polygons.json"
    dst: str = "experiments/obstructions"


@dataclass(frozen=True)
class Outline:
    """One thing over a face.

    Attributes:
        kind: of `LABELS`.
        points: (N, 2) x y in pixels of the aligned crop of 512.
        width: of the open line through the points; 0 = they enclose an area.
    """

    kind: str
    points: Array
    width: float = 0


@dataclass(frozen=True)
class Outlined:
    """A face and what lies over it.

    Attributes:
        file: below the data folder.
        outlines: later ones lie over earlier ones.
        landmarks: (5, 2) in pixels of a photo; None: the file is an aligned face.
    """

    file: str
    outlines: tuple[Outline, ...]
    landmarks: FloatArray | None = None

    def labels(self) -> Labels:
        """(128, 128) indices into `CLASSES`, or `IGNORED`."""
        extents = [
            (LABELS[o.kind], stroke(OUTLINED_AT, o.points, o.width) if o.width else fill(OUTLINED_AT, o.points))
            for o in self.outlines
        ]
        return label(extents, INPUT_SIZE)


def read_outlines(file: Path | str) -> list[Outlined]:
    """Reads a file such as `polygons.json`.

    Raises:
        DataError: if it is missing or not of that form.
    """
    try:
        rows = json.loads(Path(file).read_text())
        faces = [
            Outlined(
                row["file"],
                tuple(Outline(m["class"], np.array(m["points"], float), m.get("width", 0)) for m in row["marks"]),
                np.array(row["landmarks"], np.float32) if "landmarks" in row else None,
            )
            for row in rows
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"outlines: {file} cannot be read ({error!r}); give a file such as polygons.json") from error
    if unknown := {o.kind for face in faces for o in face.outlines} - LABELS.keys():
        raise DataError(f"outlines: {file} has {', '.join(sorted(unknown))}, expected classes of {', '.join(LABELS)}")
    return faces


def read_crop(root: Path, face: Outlined, records: Mapping[str, FaceRecord]) -> tuple[FloatArray, Mask]:
    """The aligned crop (256, 256, 3) in [0, 1], and (128, 128) which of its pixels the photo shows.

    Raises:
        DataError: if the face is not held out.
    """
    if face.landmarks is not None:
        pixels = read_image(root / face.file).frame.pixels
        matrix = similarity(face.landmarks, INPUT_SIZE)
        inside = warp(
            np.ones(pixels.shape[:2], np.float32), matrix, (INPUT_SIZE, INPUT_SIZE), cv2.BORDER_CONSTANT, linear=True
        )
        return align(pixels, face.landmarks, CROP).image, np.asarray(inside > 0.99)
    record = records.get(face.file.removeprefix("faces/"))
    if record is None or record.split != "val":
        raise DataError(f"outlines: {face.file} is no face of split val; the network may have seen it, leave it out")
    valid = valid_mask(record.valid_box, record.size, INPUT_SIZE)
    return to_float(read_face(root / "faces", record, CROP)), valid


def by_thresholds(picture: Pixels) -> Labels:
    """What an earlier kind of system finds by circles and colour thresholds.

    The thresholds were chosen on 60 faces of `calib`, clean and with drawn obstructions: the largest IoU that marks
    glasses or a mask on at most 5 % of the clean ones.

    Args:
        picture: (256, 256, 3) uint8 aligned face.

    Returns:
        (128, 128) indices into `CLASSES`: masks, hair over the forehead, and glasses.
    """
    lab = np.asarray(cv2.cvtColor(to_float(picture), cv2.COLOR_RGB2LAB), np.float32)
    found = {"mask": _cloth(lab), "hair": _dark_forehead(lab), "glasses": _circles(picture, lab[..., 0])}
    labels = np.zeros((CROP, CROP), np.uint8)
    for kind in BY_THRESHOLDS:
        labels[found[kind]] = CLASSES.index(kind)
    return labels[::2, ::2]


def _part(left: float, top: float, right: float, bottom: float) -> tuple[slice, slice]:
    """Rows and columns around the middle of the eyes, in eye distances."""
    eyes = template(CROP)[:2]
    (x, y), d = eyes.mean(0), eyes[1, 0] - eyes[0, 0]
    ends = [round(float(v)) for v in (y + top * d, y + bottom * d, x + left * d, x + right * d)]
    return slice(ends[0], ends[1]), slice(ends[2], ends[3])


def _cloth(lab: FloatArray) -> Mask:
    """The lower face where its colour is not the forehead's, if that is most of it: less are lips or a beard."""
    skin = np.median(lab[_part(-0.35, -0.75, 0.35, -0.35)].reshape(-1, 3), 0)
    difference = np.hypot(*np.moveaxis(lab - skin, 2, 0)[1:]) + np.abs(lab[..., 0] - skin[0]) / 2
    lower = template_mask(CROP) > 0.1
    lower[: round(template(CROP)[2, 1])] = False  # above the tip of the nose
    closed = cv2.morphologyEx((lower & (difference > 25)).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((9, 9)))
    other = np.asarray(cv2.morphologyEx(closed, cv2.MORPH_OPEN, np.ones((9, 9))) > 0)
    return np.asarray(other & (other[lower].mean() > 0.6))


def _dark_forehead(lab: FloatArray) -> Mask:
    """The forehead where it is far darker than the cheeks."""
    skin = np.median(lab[_part(-0.6, 0.3, 0.6, 0.6)][..., 0])
    forehead = np.zeros(lab.shape[:2], np.bool_)
    forehead[_part(-0.8, -1, 0.8, -0.3)] = True
    return np.asarray(forehead & (lab[..., 0] < skin - 25))


def _circles(picture: Pixels, lightness: FloatArray) -> Mask:
    """Discs around both eyes whose rims are edges and dark below the eye."""
    grey = cv2.medianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), 3)
    eyes = template(CROP)[:2]
    d, discs = float(eyes[1, 0] - eyes[0, 0]), np.zeros((CROP, CROP), np.uint8)
    for side in (-0.5, 0.5):
        rows, columns = _part(side - 0.55, -0.5, side + 0.55, 0.65)
        circles = cv2.HoughCircles(
            grey[rows, columns], cv2.HOUGH_GRADIENT, 1, d, param1=80, param2=18,
            minRadius=round(0.28 * d), maxRadius=round(0.5 * d),
        )  # fmt: skip
        if circles is None:
            return np.zeros((CROP, CROP), np.bool_)
        x, y, radius = circles.reshape(-1, 3)[0] + (columns.start, rows.start, 0)
        rim, around = np.zeros((2, CROP, CROP), np.uint8)
        cv2.ellipse(rim, (round(x), round(y)), (round(radius),) * 2, 0, 20, 160, 255, 3)  # the lower half
        cv2.ellipse(around, (round(x), round(y)), (round(1.25 * radius),) * 2, 0, 20, 160, 255, 3)
        if lightness[rim > 0].mean() > lightness[around > 0].mean() - 5:
            return np.zeros((CROP, CROP), np.bool_)
        cv2.circle(discs, (round(x), round(y)), round(radius) + 2, 255, -1)
    return discs > 0


def count(found: Labels, true: Labels, counted: Mask) -> npt.NDArray[np.float64]:
    """(8, 3) pixels of each class, and at last of `PROTECTED` as one: marked rightly, marked, and there."""
    kinds = [[i] for i in range(len(CLASSES))] + [[CLASSES.index(name) for name in PROTECTED]]
    pairs = [(np.isin(found[counted], kind), np.isin(true[counted], kind)) for kind in kinds]
    return np.array([[(f & t).sum(), f.sum(), t.sum()] for f, t in pairs], np.float64)


def overlap(counts: npt.NDArray[np.float64]) -> Interval:
    """IoU over the pixels of all pictures from (N, 3) of `count`, with the interval of drawing other pictures."""
    return bootstrap(lambda c: c[:, 0] / np.maximum(c[:, 1] + c[:, 2] - c[:, 0], 1e-9), counts)


def row(name: str, by: str, counts: npt.NDArray[np.float64], inside: npt.NDArray[np.float64]) -> str:
    """A line of the table from (N, 3) of `count` for each picture, of the whole crop and of the face alone."""
    here = counts[counts[:, 2] > 0]
    right, marked, there = counts.sum(0)
    each = mean(here[:, 0] / (here[:, 1] + here[:, 2] - here[:, 0])) if len(here) else None
    cells = [
        interval_text(overlap(counts), ".2f") if there else "-",
        interval_text(each, ".2f"),
        f"{overlap(inside).value:.2f}" if there else "-",
        f"{right / marked:.2f}" if marked else "-",
        f"{right / there:.2f}" if there else "-",
        f"{(counts[counts[:, 2] == 0, 1] >= SEEN).sum()} of {len(counts) - len(here)}",
    ]
    return f"| {name} | {len(here)} | {by} | {' | '.join(cells)} |"


def run(options: PolygonsOptions) -> Path:
    """Measures and writes the table."""
    root = Path(options.root) if options.root else face_folder().parent
    faces = read_outlines(options.outlines)
    records = {r.file: r for r in read_manifest(root / "faces")}
    file = Path(options.weights) if options.weights else released("obstructions")
    net = cast(ObstructionNet, load_network("obstructions", file)[0].eval())
    within = template_mask(INPUT_SIZE) > 0.5
    counts: dict[str, list[npt.NDArray[np.float64]]] = {"network": [], "thresholds": []}
    for face in faces:
        crop, valid = read_crop(root, face, records)
        true = face.labels()
        counted = valid & (true != IGNORED)
        marked = {"network": classes(mark(net, crop).probabilities), "thresholds": by_thresholds(to_integer(crop))}
        for by, found in marked.items():
            counts[by].append(np.stack([count(found, true, part) for part in (counted, counted & within)]))
    lines = [
        f"{len(faces)} real faces that no training has used, outlined by eye; {INPUT_SIZE} x {INPUT_SIZE} pixels each.",
        "",
        "| over the face | pictures | by | IoU, all pixels | IoU, mean of its pictures | IoU inside the face "
        "| precision | recall | marked where there is none |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for i, name in enumerate([*CLASSES[1:], " or ".join(PROTECTED)], 1):
        methods = counts if name in BY_THRESHOLDS else ["network"]
        lines += [row(name, by, *np.moveaxis(np.array(counts[by])[:, :, i], 1, 0)) for by in methods]
    facts = {"faces": len(faces), "weights": weight_hashes({"obstructions": file})}
    target = Path(options.dst) / "polygons.md"
    write_markdown(target, "Marking real obstructions", lines, facts)
    print("\n".join(lines))
    return target


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(PolygonsOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
