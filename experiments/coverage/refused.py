"""How often the test of landmarks refuses a good face: `python experiments/coverage/refused.py dst=TABLE.md`.

Held-out faces are pasted into a larger picture, plain and photographic in turn, and LFW's frames are searched as they
are. Every face that the detector finds there at its place has right landmarks, or nearly so.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from omegaconf import MISSING
from skimage.data import coffee

from likeness.data.faces import read_face, read_manifest, split_records
from likeness.errors import DataError
from likeness.evaluation.benchmarks.lfw import find_image, read_frame, read_image_names
from likeness.evaluation.report.provenance import write_markdown
from likeness.evaluation.report.statistics import wilson
from likeness.evaluation.report.tables import interval_text
from likeness.ops.resize import resize
from likeness.paths import data_folder
from likeness.stages.detect.base import DetectConfig
from likeness.stages.detect.looks import widths
from likeness.stages.detect.mtcnn import MtcnnDetector
from likeness.stages.detect.plausibility import moves_of
from likeness.tasks import arguments
from likeness.types import FloatArray, Pixels

CROP = 2.033  # edge of an aligned crop, in face widths
BANDS = (0, 60, 100, 1000)  # edges of the table's face widths in pixels


@dataclass
class RefusedOptions:
    """Options of the command.

    Attributes:
        dst: the Markdown table to write.
        data: the data folder, with `faces/manifest.csv` and `lfw`; LIKENESS_DATA by default.
        pasted: held-out faces that are pasted.
        frames: frames of LFW.
        narrow, wide: range of the pasted faces' widths in pixels.
        seed: of the choice of faces, widths and places.
    """

    dst: str = MISSING
    data: str = ""
    pasted: int = 200
    frames: int = 100
    narrow: float = 40.0
    wide: float = 150.0
    seed: int = 0


@dataclass(frozen=True)
class GoodFace:
    """A good face that was searched for.

    Attributes:
        set, file: where.
        width: in pixels; 0 where it was not found.
        score: of the detector.
        moves: of its landmarks, in eye distances.
        doubt: why it was refused, or empty.
    """

    set: str
    file: str
    width: float = 0.0
    score: float = 0.0
    moves: float = 0.0
    doubt: str = ""


def pasted(options: RefusedOptions, data: Path) -> Iterator[tuple[str, Pixels, FloatArray]]:
    """File, picture, and centre x, y of each pasted face."""
    rng = np.random.default_rng(options.seed)
    records = split_records(read_manifest(data / "faces"), "val")
    if len(records) < options.pasted:
        raise DataError(f"pasted: got {options.pasted}, expected at most the {len(records)} held-out faces; lower it")
    for i, index in enumerate(rng.permutation(len(records))[: options.pasted]):
        record = records[index]
        edge = round(CROP * rng.uniform(options.narrow, options.wide))
        picture = coffee().copy() if i % 2 else np.full((400, 600, 3), rng.integers(0, 256, 3), np.uint8)
        top, left = (int(rng.integers(0, length - edge + 1)) for length in picture.shape[:2])
        picture[top : top + edge, left : left + edge] = resize(read_face(data / "faces", record), edge, edge)
        yield record.file, picture, np.array([left + edge / 2, top + edge / 2], np.float32)


def frames(options: RefusedOptions, data: Path) -> Iterator[tuple[str, Pixels, FloatArray]]:
    """Name, picture and centre of frames of LFW, whose face lies there."""
    names = read_image_names(data / "lfw" / "pairsDevTest.txt")
    for index in np.random.default_rng(options.seed).permutation(len(names))[: options.frames]:
        frame = read_frame(find_image(data / "lfw", names[index]))
        yield names[index], frame, np.array([frame.shape[1] / 2, frame.shape[0] / 2], np.float32)


def search_for(kind: str, file: str, picture: Pixels, centre: FloatArray, detector: MtcnnDetector) -> GoodFace:
    """Searches a picture for the face whose box covers `centre`, and tests its landmarks."""
    (found,) = detector.detect([picture])
    here = ((found.boxes[:, :2] < centre) & (centre < found.boxes[:, 2:])).all(1)
    if not here.any():
        return GoodFace(kind, file)
    face = found.select([int(np.flatnonzero(here)[0])])
    moves = moves_of(detector.detect_again, picture, face)
    return GoodFace(kind, file, float(widths(face)[0]), float(face.scores[0]), moves, detector.doubt(picture, face))


def table(rows: Sequence[GoodFace]) -> list[str]:
    """The rate of each kind, the moves by width, and every face that was refused."""
    lines = ["| faces | searched | found | refused, in percent of the found | 95 % of landmarks move by at most |"]
    lines += ["|---|---|---|---|---|"]
    for kind in dict.fromkeys(row.set for row in rows):
        for low, high in ((0, BANDS[-1]), *pairwise(BANDS)):
            of_kind = [r for r in rows if r.set == kind]
            part = [r for r in of_kind if r.width and low <= r.width < high]
            if not part:
                continue
            rate = wilson(sum(bool(r.doubt) for r in part), len(part))
            percent = interval_text(type(rate)(100 * rate.value, 100 * rate.low, 100 * rate.high, rate.n), ".1f")
            every = high - low == BANDS[-1]
            moves = np.quantile([r.moves for r in part], 0.95)
            name = kind if every else f"{kind}, {low} to {high} px" if high < BANDS[-1] else f"{kind}, from {low} px"
            lines.append(f"| {name} | {len(of_kind) if every else ''} | {len(part)} | {percent} | {moves:.2f} |")
    return [
        *lines,
        "",
        "| file | width | score | moves | why |",
        "|---|---|---|---|---|",
        *(f"| {r.file} | {r.width:.0f} | {r.score:.3f} | {r.moves:.2f} | {r.doubt} |" for r in rows if r.doubt),
    ]


def run(options: RefusedOptions) -> None:
    """Searches, prints and writes.

    Raises:
        DataError: no data.
    """
    data = Path(options.data) if options.data else data_folder()
    if data is None:
        raise DataError("data: got none; give data=FOLDER or set LIKENESS_DATA")
    detector = MtcnnDetector(DetectConfig())
    rows = [
        search_for(kind, *searched, detector)
        for kind, pictures in (("pasted", pasted(options, data)), ("LFW", frames(options, data)))
        for searched in pictures
    ]
    lines = table(rows)
    write_markdown(Path(options.dst), "Good faces that are refused", lines)
    print("\n".join(lines))


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(RefusedOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
