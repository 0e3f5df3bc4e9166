"""Did clips come back whole? `python -m likeness.tasks.streams reports=[DIR] dst=TABLE.md`.

Reads what `infer.py input=FOLDER output=DIR` left, clip by clip: are the frames as many and shown at the same times, is
the sound the same packet for packet, how many cuts were seen, what became of the faces, and how fast it went.
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
from likeness.evaluation import provenance
from likeness.media.files import kind_of
from likeness.media.gif import GifReader
from likeness.media.video import VideoReader
from likeness.pipeline.config import from_json, time_range_of
from likeness.stages.temporal.cuts import is_cut, thumbnail
from likeness.tasks import arguments
from likeness.types import FloatArray, Frame, TimeRange


@dataclass
class StreamsOptions:
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
class Stream:
    """What became of one clip.

    Attributes:
        file, preset: which, and how it was restored.
        frames: of the input.
        written: of the result.
        late: frames that the result shows at another time than the input, by more than a millisecond.
        sound: same, none (the input has none), cut (only a part was restored) or changed.
        cuts: seen by the pipeline's own detector, and what the list says, or None.
        changes: how often a track went over to another expert, or to none.
        report: infer.py's.
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
        seen, restored, carried = (sum(f[k] for f in faces) for k in ("frames", "restored_frames", "carried_frames"))
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
            f"{restored} of {seen}",
            f"{carried / restored:.0%}" if restored else "-",
            f"{max(spreads):.3f}" if spreads else "-",
            f"{self.report['totals']['frames_per_second']:.1f}",
            "; ".join(f"{name}: {count}" for name, count in errors.items()) or "-",
        ]
        return f"| {' | '.join(cells)} |"

    @property
    def whole(self) -> bool:
        """Whether nothing is missing or late."""
        return self.written == self.frames and self.late == 0 and self.sound != "changed"


HEAD = [
    "| clip | preset | frames | at another time | sound | cuts seen | tracks | changes of expert | faces restored "
    "| of these carried | largest identity spread | frames a second | errors |",
    "|" + "---|" * 13,
]


def compare(report: Mapping[str, Any], cuts: Mapping[str, int]) -> Stream:
    """Looks at a report's clip and its result.

    Args:
        report: of infer.py.
        cuts: how many there are, by file name.

    Raises:
        InputError: if one of the two cannot be read.
    """
    source, target = Path(report["input"]["file"]), Path(report["outputs"]["restored"])
    config = from_json(json.dumps(report["settings"]))
    part = time_range_of(config)
    frames = written = late = seen = 0
    last: FloatArray | None = None
    begun = Fraction(0)  # a part begins at 0
    for a, b in zip_longest(_frames(source, part), _frames(target, None)):
        written += b is not None
        if a is None:
            continue
        if part is not None and frames == 0:
            begun = a.time
        frames += 1
        late += b is not None and abs(a.time - begun - b.time) > 0.001
        thumb = thumbnail(a.pixels)
        seen += last is not None and is_cut(last, thumb, config.video.cut)
        last = thumb
    sounds = _sound(source), _sound(target)
    if part is not None and len(sounds[0]) == len(sounds[1]):
        sound = "cut" if sounds[0] else "none"
    else:
        sound = "none" if sounds == ([], []) else "same" if sounds[0] == sounds[1] else "changed"
    told = seen, cuts.get(source.name)
    changes = _changes(Path(report["outputs"]["frames"]))
    return Stream(source.name, report["settings"]["preset"], frames, written, late, sound, told, changes, report)


def _changes(log: Path) -> int:
    """How often a track's face has another expert than in the track's last frame, by infer.py's log of frames."""
    last: dict[int, str | None] = {}
    found = 0
    with log.open() as lines:
        for face in (face for line in lines for face in json.loads(line)["faces"]):
            found += last.get(face["track"], face["expert"]) != face["expert"]
            last[face["track"]] = face["expert"]
    return found


def _frames(path: Path, part: TimeRange | None) -> Iterator[Frame]:
    with (VideoReader if kind_of(path) == "video" else GifReader)(path, part) as reader:
        yield from reader


def _sound(path: Path) -> list[str]:
    """A hash of the packets of each audio stream."""
    if kind_of(path) != "video":
        return []
    with av.open(str(path)) as container:
        found = {stream.index: hashlib.sha256() for stream in container.streams.audio}
        for packet in container.demux(*container.streams.audio) if found else ():
            found[packet.stream.index].update(bytes(packet))
    return [each.hexdigest() for each in found.values()]


def run(options: StreamsOptions) -> None:
    """Compares, prints and writes.

    Raises:
        DataError: if a list or a report cannot be read, or there is none.
        OutputError: if the table cannot be written.
    """
    cuts: dict[str, int] = {}
    streams = []
    try:
        for index in options.index:
            with Path(index).open(newline="") as handle:
                cuts |= {row["file"]: int(row["cuts"]) for row in csv.DictReader(handle) if row["cuts"].isdigit()}
        files = [file for folder in options.reports for file in sorted(Path(folder).rglob("*_report.json"))]
        reports = [json.loads(file.read_text()) for file in files]
        streams = [compare(report, cuts) for report in reports if report["input"]["kind"] != "photo"]
    except (OSError, KeyError, json.JSONDecodeError) as error:
        raise DataError(f"streams: {error!r}; give reports=[what infer.py wrote] and index=[index.csv]") from error
    if not streams:
        raise DataError(f"reports: {options.reports} hold no clip's *_report.json; run infer.py on clips first")
    whole = sum(s.whole for s in streams)
    listed = [s.cuts for s in streams if s.cuts[1] is not None]
    lines = [
        f"- whole, in time and with their sound: {whole} of {len(streams)}",
        f"- clips with as many cuts seen as listed: {sum(a == b for a, b in listed)} of {len(listed)}",
        "",
        *HEAD,
        *(s.row() for s in streams),
    ]
    provenance.write_markdown(Path(options.dst), "What became of clips", lines)
    print("\n".join(lines[:2]))


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(StreamsOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
