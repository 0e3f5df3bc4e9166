"""A tiled picture of many small faces: `python experiments/video/grid.py tiles=[3,4,5]`.

A meeting or a wall of cameras is one clip with a face in each tile. Builds such clips of 1280 x 720 from other clips,
restores them, and states what became of the face in each tile: found, restored or left alone with a reason, and on how
many tracks.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np

from likeness.errors import DataError
from likeness.evaluation.report.provenance import write_markdown
from likeness.media.image_writer import write_image
from likeness.media.images import ImageMeta
from likeness.media.video_reader import VideoReader
from likeness.paths import data_folder
from likeness.pipeline.config import from_overrides
from likeness.pipeline.models import load_models
from likeness.pipeline.state import Context, FrameResult, pasted
from likeness.pipeline.video import restore_video
from likeness.tasks import arguments
from likeness.types import Frame, Pixels

WIDTH, HEIGHT, RATE = 1280, 720, 25


@dataclass
class GridOptions:
    """Options of the command.

    Attributes:
        dst: the Markdown table to write.
        clips: folder of MP4 files; by default LIKENESS_DATA/clips_good.
        tiles: edges of the grids; 5 has 25 tiles.
        frames: of each grid.
        options: of the restorer.
        pictures: a folder for the last frame of each grid, before and after; empty = none is kept.
    """

    dst: str = "experiments/video/grid.md"
    clips: str = ""
    tiles: list[int] = field(default_factory=lambda: [3, 4, 5])
    frames: int = 25
    options: list[str] = field(default_factory=list)
    pictures: str = ""


def read_clip(path: Path, count: int, start: int) -> list[Pixels]:
    """Frames `start` to `start + count` of a clip, fewer if it is shorter."""
    with VideoReader(path) as reader:
        return [frame.pixels for frame in islice(reader, start, start + count)]


def tile_of(picture: Pixels, width: int, height: int) -> Pixels:
    """The middle of a picture, as large as the tile's shape allows, at its size."""
    scale = max(width / picture.shape[1], height / picture.shape[0])
    size = max(width, round(picture.shape[1] * scale)), max(height, round(picture.shape[0] * scale))
    whole = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    x, y = (size[0] - width) // 2, (size[1] - height) // 4  # faces lie above the middle
    return np.asarray(whole[y : y + height, x : x + width], np.uint8)


def build(clips: Sequence[Path], edge: int, count: int) -> list[Frame]:
    """A clip of edge x edge tiles; where clips run out they begin again at a later second."""
    width, height = WIDTH // edge, HEIGHT // edge
    canvas = np.zeros((count, HEIGHT, WIDTH, 3), np.uint8)
    for i, path in zip(range(edge * edge), cycle(clips), strict=False):
        pictures = read_clip(path, count, (i // len(clips)) * RATE)
        if len(pictures) < count:
            raise DataError(f"frames: got {count}, but {path.name} has {len(pictures)} from there on; give fewer")
        y, x = i // edge * height, i % edge * width
        for t, picture in enumerate(pictures):
            canvas[t, y : y + height, x : x + width] = tile_of(picture, width, height)
    return [Frame(picture, t, Fraction(t, RATE), Fraction(1, RATE)) for t, picture in enumerate(canvas)]


def row(edge: int, results: Sequence[FrameResult], seconds: float) -> str:
    """The line of the table for one grid."""
    width, height = WIDTH // edge, HEIGHT // edge
    tracks: dict[int, set[int]] = {}
    reasons, found, restored = Counter[str](), 0, 0
    widths: list[float] = []
    for result in results:
        for face in result.faces:
            x, y = face.points.mean(0)
            assert face.track is not None
            tracks.setdefault(int(y // height) * edge + int(x // width), set()).add(face.track.id)
            found, widths = found + 1, [*widths, face.profile.width]
            if pasted(face):
                restored += 1
            else:
                reasons["the guard" if face.decision.expert else face.decision.route] += 1
    several = sum(len(ids) > 1 for ids in tracks.values())
    shared = len({i for ids in tracks.values() for i in ids}) < sum(len(ids) for ids in tracks.values())
    left = "; ".join(f"{reason}: {count}" for reason, count in reasons.most_common(3)) or "-"
    cells = [
        f"{edge * edge} tiles",
        f"{len(tracks)}",
        f"{found / len(results):.1f}",
        f"{np.median(widths):.0f}",
        f"{restored / len(results):.1f}",
        left,
        f"{several}",
        "yes" if shared else "no",
        f"{1000 * seconds / len(results):.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


HEAD = [
    "| grid | tiles with a face | faces a frame | width px, median | restored a frame | faces left alone, by route "
    "| tiles with several tracks | a track in two tiles | ms a frame |",
    "|" + "---|" * 9,
]


def run(options: GridOptions) -> None:
    """Builds, restores, prints and writes.

    Raises:
        DataError: if there are no clips, or one is too short.
    """
    data = data_folder()
    folder = Path(options.clips) if options.clips or data is None else data / "clips_good"
    clips = sorted(folder.glob("*.mp4")) if options.clips or data else []
    if not clips:
        raise DataError("clips: got no MP4 files; give clips=FOLDER, or set LIKENESS_DATA")
    config = from_overrides(options.options)
    models, lines = load_models(config), list(HEAD)
    for edge in options.tiles:
        frames = build(clips, edge, options.frames)
        start = time.perf_counter()
        results = [result for _, result, _ in restore_video(frames, Context(models, config, "video", 1))]
        lines.append(row(edge, results, time.perf_counter() - start))
        print(lines[-1], flush=True)
        if options.pictures:
            Path(options.pictures).mkdir(parents=True, exist_ok=True)
            for name, pixels in (("before", frames[-1].pixels), ("after", results[-1].pixels)):
                write_image(Path(options.pictures) / f"{edge}_{name}.png", Frame(pixels), ImageMeta())
    write_markdown(Path(options.dst), "Grids of faces", lines)


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(GridOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
