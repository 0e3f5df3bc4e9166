"""Compares the first search with the whole one, and tests every face that is found, on real files.

`python experiments/coverage/search.py src=FOLDER dst=TABLE.md` searches every tenth frame of each file in FOLDER, once
by the detector alone and once with tiles and the second look. Of each face it asks whether its landmarks are plausible.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from omegaconf import MISSING

from likeness.errors import DataError, LikenessError
from likeness.evaluation.report.provenance import write_markdown
from likeness.media.files import kind_of
from likeness.media.folders import find_media
from likeness.media.readers import open_reader
from likeness.pipeline.config import RestorerConfig
from likeness.stages.detect.looks import find_faces, widths
from likeness.stages.detect.mtcnn import MtcnnDetector
from likeness.stages.detect.plausibility import misfit_of, moves_of
from likeness.tasks import arguments
from likeness.types import Faces, Pixels


@dataclass
class SearchOptions:
    """Options of the command.

    Attributes:
        src: folder of photos, GIFs and clips.
        dst: the Markdown table to write.
        every: of a clip, every such frame is searched.
        frames: searched frames of a clip, at most.
        stride: every such file of the folder is read.
        names: files whose path contains this.
    """

    src: str = MISSING
    dst: str = MISSING
    every: int = 10
    frames: int = 30
    stride: int = 1
    names: str = ""


@dataclass(frozen=True)
class FoundFace:
    """A face of a searched frame.

    Attributes:
        file, frame: where.
        width: in pixels.
        score: of the detector.
        look: the second look that found it.
        first: whether the detector alone found it.
        misfit, moves: of its landmarks, in eye distances.
        doubt: why they are implausible.
    """

    file: str
    frame: int
    width: float
    score: float
    look: str
    first: bool
    misfit: float
    moves: float
    doubt: str


def searched(path: Path, options: SearchOptions) -> Iterator[tuple[int, Pixels]]:
    """Number and pixels of the frames to search."""
    with open_reader(path, kind_of(path)) as reader:
        for frame in islice(reader, 0, options.every * options.frames, options.every):
            yield frame.index, frame.pixels


def faces_of(file: str, frame: int, pixels: Pixels, detector: MtcnnDetector, config: RestorerConfig) -> list[FoundFace]:
    """The restorable faces of a frame."""
    narrowest = config.route.skip_below
    (first,) = detector.detect([pixels])
    found = find_faces(detector, pixels, config.detect, narrowest)
    result = []
    for i, width in enumerate(widths(found)):
        if width < narrowest:
            continue
        face = found.select([i])
        seen = Faces(face.boxes, face.scores, face.landmarks)
        result.append(
            FoundFace(
                file,
                frame,
                float(width),
                float(face.scores[0]),
                str(face.looks[0]),
                bool((first.boxes == face.boxes[0]).all(1).any()),
                misfit_of(seen),
                moves_of(detector.detect_again, pixels, seen) if not face.looks[0] else 0.0,
                "" if face.looks[0] else detector.doubt(pixels, seen),
            )
        )
    return result


def table(faces: Sequence[FoundFace], frames: int, files: int) -> list[str]:
    """Summary, quantiles, and a row for each face that only the whole search found or that is in doubt."""
    plain = [f for f in faces if f.first]
    moves = np.quantile([f.moves for f in plain], (0.5, 0.9, 0.99)) if plain else np.full(3, np.nan)
    return [
        f"- files: {files}; frames searched: {frames}",
        f"- restorable faces that the detector alone finds: {len(plain)}",
        f"- more by tiles or a second look: {len(faces) - len(plain)}",
        f"- left alone, as their landmarks are implausible: {sum(bool(f.doubt) for f in faces)}",
        f"- landmarks move by (quantiles 0.5, 0.9, 0.99): {', '.join(f'{q:.3f}' for q in moves)} eye distances",
        "",
        "| file | frame | width | score | misfit | moves | found by | in doubt |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {f.file} | {f.frame} | {f.width:.0f} | {f.score:.3f} | {f.misfit:.2f} | {f.moves:.2f} "
            f"| {'first search' if f.first else f.look or 'tiles'} | {f.doubt and 'yes'} |"
            for f in faces
            if f.doubt or not f.first
        ),
    ]


def run(options: SearchOptions) -> None:
    """Searches, prints the summary and writes the table.

    Raises:
        DataError: the folder holds no such file.
    """
    config = RestorerConfig()
    detector = MtcnnDetector(config.detect)
    folder = Path(options.src)
    paths = [p for p in find_media(folder) if options.names in str(p)][:: options.stride]
    if not paths:
        raise DataError(f"src: {folder} holds no photo, video or GIF with {options.names!r} in its path")
    faces, frames = list[FoundFace](), 0
    for path in paths:
        try:
            for frame, pixels in searched(path, options):
                frames += 1
                faces += faces_of(str(path.relative_to(folder)), frame, pixels, detector, config)
        except LikenessError as error:
            print(error)
    lines = table(faces, frames, len(paths))
    write_markdown(Path(options.dst), f"Searched: {folder.name}", lines)
    print("\n".join(lines[: lines.index("")]))


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(SearchOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
