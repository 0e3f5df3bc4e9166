"""Checks that restored clips are complete: `python experiments/video/video_check.py reports=[DIR] dst=TABLE.md`.

Compares every clip with the result of `infer.py input=FOLDER output=DIR`: number and times of the frames, the packets
of the sound, the cuts detected, the tracks and their experts, and the speed.
"""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path
from typing import Any

import av
from omegaconf import MISSING

from likeness.errors import DataError
from likeness.evaluation.report.provenance import write_markdown
from likeness.media.files import kind_of
from likeness.media.gif import GifReader
from likeness.media.video_reader import VideoReader
from likeness.pipeline.config import from_json, time_range_of
from likeness.stages.temporal.cuts import is_cut, thumbnail
from likeness.tasks import arguments
from likeness.types import FloatArray, Frame, TimeRange


@dataclass
class VideoCheckOptions:
    """Options of the command.

    Attributes:
        dst: the Markdown table to write.
        reports: folders that infer.py wrote.
        index: `index.csv` files with the columns `file` and `cuts`; clips that none lists have no number to compare.
    """

    dst: str = MISSING
    reports: list[str] = field(default_factory=list)
    index: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ClipCheck:
    """One clip and its result.

    Attributes:
        file, preset: of the clip.
        frames: of the input.
        written: frames of the result.
        late: frames that the result shows at another time than the input, by more than a millisecond.
        sound: same, none (the input has none), cut (only a part was restored) or changed.
        cuts: detected by the pipeline's detector, and listed, or None.
        changes: how often a track changed its expert, or lost it.
        report: of infer.py.
    """

    file: str
    preset: str
    frames: int
    written: int
    late: int
    sound: str
    cuts: tuple[int, int | None]
    changes: int
    report: Mapping[str, Any]

    def row(self) -> str:
        """The line of the table."""
        faces = self.report["faces"]
        tracked, restored, propagated = (
            sum(f[key] for f in faces) for key in ("frames", "restored_frames", "propagated_frames")
        )
        spreads = [f["identity_spread"] for f in faces if f["restored_frames"] and f["identity_spread"] is not None]
        listed = "" if self.cuts[1] is None else f" of {self.cuts[1]}"
        errors = self.report["totals"]["errors"]
        cells = [
            self.file,
            self.preset,
            f"{self.written} of {self.frames}",
            str(self.late),
            self.sound,
            f"{self.cuts[0]}{listed}",
            str(len(faces)),
            str(self.changes),
            f"{restored} of {tracked}",
            f"{propagated / restored:.0%}" if restored else "-",
            f"{max(spreads):.3f}" if spreads else "-",
            f"{self.report['totals']['frames_per_second']:.1f}",
            "; ".join(f"{name}: {count}" for name, count in errors.items()) or "-",
        ]
        return f"| {' | '.join(cells)} |"

    @property
    def complete(self) -> bool:
        """Whether nothing is missing or late."""
        return self.written == self.frames and self.late == 0 and self.sound != "changed"


HEAD = [
    "| clip | preset | frames | at another time | sound | cuts detected | tracks | changes of expert | faces restored "
    "| of these propagated | largest identity spread | frames a second | errors |",
    "|" + "---|" * 13,
]


def compare(report: Mapping[str, Any], cuts: Mapping[str, int]) -> ClipCheck:
    """Compares a report's clip with its result.

    Args:
        report: of infer.py.
        cuts: their number, by file name.

    Raises:
        InputError: if one of the two cannot be read.
    """
    source, target = Path(report["input"]["file"]), Path(report["outputs"]["restored"])
    config = from_json(json.dumps(report["settings"]))
    part = time_range_of(config)
    frames = written = late = detected = 0
    last: FloatArray | None = None
    start = Fraction(0)  # the result of a part starts at 0
    for a, b in zip_longest(_frames(source, part), _frames(target, None)):
        written += b is not None
        if a is None:
            continue
        if part is not None and frames == 0:
            start = a.time
        frames += 1
        late += b is not None and abs(a.time - start - b.time) > 0.001
        thumb = thumbnail(a.pixels)
        detected += last is not None and is_cut(last, thumb, config.video.cut)
        last = thumb
    sounds = _sound(source), _sound(target)
    if part is not None and len(sounds[0]) == len(sounds[1]):
        sound = "cut" if sounds[0] else "none"
    else:
        sound = "none" if sounds == ([], []) else "same" if sounds[0] == sounds[1] else "changed"
    counts = detected, cuts.get(source.name)
    changes = _changes(Path(report["outputs"]["frames"]))
    return ClipCheck(source.name, report["settings"]["preset"], frames, written, late, sound, counts, changes, report)


def _changes(log: Path) -> int:
    """How often a track's face has another expert than in the track's last frame, by infer.py's log of frames."""
    last: dict[int, str | None] = {}
    changes = 0
    with log.open() as lines:
        for face in (face for line in lines for face in json.loads(line)["faces"]):
            changes += last.get(face["track"], face["expert"]) != face["expert"]
            last[face["track"]] = face["expert"]
    return changes


def _frames(path: Path, part: TimeRange | None) -> Iterator[Frame]:
    with (VideoReader if kind_of(path) == "video" else GifReader)(path, part) as reader:
        yield from reader


def _sound(path: Path) -> list[str]:
    """A hash of the packets of each audio stream."""
    if kind_of(path) != "video":
        return []
    with av.open(str(path)) as container:
        digests = {stream.index: hashlib.sha256() for stream in container.streams.audio}
        for packet in container.demux(*container.streams.audio) if digests else ():
            digests[packet.stream.index].update(bytes(packet))
    return [digest.hexdigest() for digest in digests.values()]


def run(options: VideoCheckOptions) -> None:
    """Compares, prints and writes.

    Raises:
        DataError: if a list or a report cannot be read, or there is none.
        OutputError: if the table cannot be written.
    """
    cuts: dict[str, int] = {}
    checks = []
    try:
        for index in options.index:
            with Path(index).open(newline="") as handle:
                cuts |= {row["file"]: int(row["cuts"]) for row in csv.DictReader(handle) if row["cuts"].isdigit()}
        files = [file for folder in options.reports for file in sorted(Path(folder).rglob("*_report.json"))]
        reports = [json.loads(file.read_text()) for file in files]
        checks = [compare(report, cuts) for report in reports if report["input"]["kind"] != "photo"]
    except (OSError, KeyError, json.JSONDecodeError) as error:
        raise DataError(f"{error!r}; give reports=[FOLDER of infer.py] and index=[index.csv]") from error
    if not checks:
        raise DataError(f"reports: {options.reports} hold no clip's *_report.json; run infer.py on clips first")
    complete = sum(c.complete for c in checks)
    listed = [c.cuts for c in checks if c.cuts[1] is not None]
    lines = [
        f"- complete, in time and with their sound: {complete} of {len(checks)}",
        f"- clips with as many cuts detected as listed: {sum(a == b for a, b in listed)} of {len(listed)}",
        "",
        *HEAD,
        *(c.row() for c in checks),
    ]
    write_markdown(Path(options.dst), "Restored clips against their inputs", lines)
    print("\n".join(lines[:2]))


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(VideoCheckOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
