"""Compares the faces that infer.py found and restored with a list of those that there are.

`python experiments/coverage/face_coverage.py index=FOLDER/index.csv reports=REPORTS dst=TABLE.md` reads the reports of
`infer.py input=FOLDER output=REPORTS`.
"""

from __future__ import annotations

import csv
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from likeness.errors import DataError
from likeness.evaluation.report.provenance import write_markdown
from likeness.tasks import arguments

EXPERTS = ("expert_t", "expert_f")


@dataclass
class FaceCoverageOptions:
    """Options of the command.

    Attributes:
        index: `index.csv` of the folder, with the columns `file` and `faces / width` ("2 / 60-63 (med 61) px").
        reports: folder that infer.py wrote for it.
        dst: the Markdown table to write.
        narrowest: faces of the list narrower than this need not be found, in pixels.
    """

    index: str = MISSING
    reports: str = MISSING
    dst: str = MISSING
    narrowest: float = 60.0


@dataclass(frozen=True)
class Listed:
    """The list's line of one file: the fewest faces of any frame, and their narrowest, middle and widest width."""

    file: str
    fewest: int
    narrow: float
    middle: float
    wide: float

    def expected(self, narrowest: float) -> int:
        """Faces that must be found: all where the narrowest is wide enough, half where the middle one is."""
        if self.narrow >= narrowest:
            return self.fewest
        return math.ceil(self.fewest / 2) if self.middle >= narrowest else 0


def parse_faces(file: str, text: str) -> Listed:
    """Reads "0", "1 / 148 px", "2 / 60-63 (med 61) px" or "0-2 / 39-104 (med 69) px".

    Raises:
        DataError: for anything else.
    """
    match = re.fullmatch(r"(\d+)(?:-\d+)?(?: / ([\d.]+)(?:-([\d.]+) \(med ([\d.]+)\))? px)?", text.strip())
    if match is None:
        raise DataError(f"index: {file} has the faces {text!r}, expected such as '2 / 60-63 (med 61) px'")
    narrow = float(match[2] or 0)
    return Listed(file, int(match[1]), narrow, float(match[4] or narrow), float(match[3] or narrow))


@dataclass(frozen=True)
class Coverage:
    """The faces of one file.

    Attributes:
        clip: whether `detected` and `total` count frames, not faces.
        expected: faces to detect (in a clip, in every frame).
        detected: faces, at most the expected ones (in a clip, frames that reach them).
        total: the expected faces, or the frames; 0 where none is expected.
        restorable: faces or tracks that the router sent to an expert.
        restored: how many of them were restored.
        reasons: why the others were not, and why faces were left alone.
    """

    file: str
    clip: bool
    expected: int
    detected: int
    total: int
    restorable: int
    restored: int
    reasons: Mapping[str, int]


def compare(
    listed: Listed, report: Mapping[str, Any], frames: Iterable[Mapping[str, Any]], narrowest: float
) -> Coverage:
    """Compares a report with the list.

    Args:
        listed: the list's line.
        report: of the file.
        frames: lines of its frames log, none for a photo.
        narrowest: see `FaceCoverageOptions`.
    """
    counts = [len(f["faces"]) for f in frames]
    expected = listed.expected(narrowest)
    clip = report["input"]["kind"] != "photo"
    if clip:
        detected, total = (sum(n >= expected for n in counts), len(counts)) if expected else (0, 0)
    else:
        detected, total = min(len(report["faces"]), expected), expected
    # A track's record has its last frame's route; one that was restored before was chosen, too.
    chosen = [f for f in report["faces"] if f["route"] in EXPERTS or f["restored_frames"] > 0]
    restored = [f for f in chosen if f["restored_frames"] > 0]
    unchanged = [f for f in report["faces"] if f["restored_frames"] == 0]
    reasons = Counter(re.sub(r"-?\d[\d.]*", "N", f["notes"][0] if f["notes"] else f["reason"]) for f in unchanged)
    return Coverage(listed.file, clip, expected, detected, total, len(chosen), len(restored), reasons)


def table(rows: Sequence[Coverage], missing: Sequence[str]) -> list[str]:
    """Markdown: totals first, then every file."""

    def fraction(part: int, whole: int) -> str:
        return f"{part} of {whole}" + (f" ({100 * part / whole:.1f} %)" if whole else "")

    reasons: Counter[str] = Counter()
    for row in rows:
        reasons.update(row.reasons)
    lines = [
        f"- files with a result: {fraction(len(rows), len(rows) + len(missing))}",
        *(
            f"- {what}: {fraction(sum(r.detected for r in part), sum(r.total for r in part))}"
            for what, part in (
                ("faces found in photos", [r for r in rows if not r.clip]),
                ("frames of clips with the faces they must have", [r for r in rows if r.clip]),
            )
            if part
        ),
        f"- restored of those that an expert was chosen for: "
        f"{fraction(sum(r.restored for r in rows), sum(r.restorable for r in rows))}",
        *(f"- without a result: {name}" for name in missing),
        *(f"- left as it was, {count} times: {reason}" for reason, count in reasons.most_common()),
        "",
        "| file | expected | detected | chosen for an expert | restored |",
        "|---|---|---|---|---|",
    ]
    return lines + [
        f"| {r.file} | {r.expected} | {r.detected} of {r.total} | {r.restorable} | {r.restored} |" for r in rows
    ]


def run(options: FaceCoverageOptions) -> None:
    """Compares, prints and writes.

    Raises:
        DataError: if the list or the reports cannot be read.
        OutputError: if the table cannot be written.
    """
    rows, missing = [], []
    try:
        with Path(options.index).open(newline="") as handle:
            listed = [parse_faces(row["file"], row["faces / width"]) for row in csv.DictReader(handle)]
        reports = {}
        for file in sorted(Path(options.reports).rglob("*_report.json")):
            report = json.loads(file.read_text())
            reports[Path(report["input"]["file"]).name] = (file, report)
        for item in listed if reports else ():
            if item.file not in reports:
                missing.append(item.file)
                continue
            file, report = reports[item.file]
            log = file.with_name(file.name.replace("_report.json", "_frames.jsonl"))
            frames = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
            rows.append(compare(item, report, frames, options.narrowest))
    except (OSError, KeyError, json.JSONDecodeError) as error:
        raise DataError(f"{error!r}; give index=FOLDER/index.csv and reports=FOLDER of infer.py") from error
    if not reports:
        raise DataError(
            f"reports: {options.reports} holds no *_report.json; run infer.py input=FOLDER output= it first"
        )
    lines = table(rows, missing)
    title = f"Found and restored: {Path(options.index).parent.name}"
    write_markdown(Path(options.dst), title, lines)
    print("\n".join(lines[: lines.index("")]))


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(FaceCoverageOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
