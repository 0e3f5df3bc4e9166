"""Blind comparison of two sets of results: `python experiments/blind/blind.py a=DIR b=DIR inputs=DIR`.

With a=DIR and b=DIR it writes numbered pairs of pictures, an empty sheet of verdicts, and the key in a file beside
them. Without, it reads key and verdicts and states how often B was preferred.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from likeness.errors import ConfigError, InputError, OutputError
from likeness.evaluation.report.provenance import write_markdown
from likeness.evaluation.report.statistics import wilson
from likeness.media.files import atomic_output
from likeness.media.image_writer import write_image
from likeness.media.images import ImageMeta, read_image
from likeness.ops.color import to_float, to_integer
from likeness.tasks import arguments
from likeness.types import Frame, Pixels

VERDICTS = ("left", "right", "equal")
_KEY = ("number", "name", "left", "kind")
_SHEET = ("number", "verdict", "why")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".avif")
_GAP = 16  # pixels of grey between the pictures


@dataclass
class BlindOptions:
    """Options of the command.

    Attributes:
        a, b: folders of results for the same inputs, with the same file names; both are given to write pairs.
        inputs: folder of the inputs, by the same names; empty shows none.
        dst: folder of the pairs; new or empty.
        key: file that states which result is on which side; outside of `dst`, and not for the judge.
        verdicts: file with a line for each pair, for the judge.
        kinds: file with the columns name and kind; empty = the part of a file's name before `__`.
        result: file of the win rates, .md; empty = they are only printed.
        seed: of the sides and of the order.
    """

    a: str = ""
    b: str = ""
    inputs: str = ""
    dst: str = "blind/pairs"
    key: str = "blind/key.csv"
    verdicts: str = "blind/verdicts.csv"
    kinds: str = ""
    result: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        if bool(self.a) != bool(self.b):
            raise ConfigError(
                f"got a={self.a!r} and b={self.b!r}, expected both to write pairs or none to read verdicts"
            )
        if not self.a and self.inputs:
            raise ConfigError(f"inputs: got {self.inputs!r} without a=DIR and b=DIR, expected them too")


class Pair(NamedTuple):
    """One line of the key.

    Attributes:
        number: of the picture, from 1.
        name: of the file, without its suffix.
        left: "a" or "b".
        kind: empty where there is none.
    """

    number: int
    name: str
    left: str
    kind: str


class Count(NamedTuple):
    """How often A was better, B was better, and neither."""

    a: int
    b: int
    equal: int


def pairs_of(names: Sequence[str], kinds: Mapping[str, str], seed: int) -> list[Pair]:
    """Numbers the names in a random order; A is on the left in a random half of them."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(names))
    sides = rng.permutation(np.arange(len(names)) % 2)
    return [
        Pair(k + 1, names[i], "ab"[side], kinds.get(names[i], ""))
        for k, (i, side) in enumerate(zip(order, sides, strict=True))
    ]


def counts(pairs: Sequence[Pair], verdicts: Mapping[int, str]) -> dict[str, Count]:
    """Counts of all pairs, then by kind, where there are kinds."""
    kinds = sorted({p.kind for p in pairs if p.kind})
    parts = {"all pairs": list(pairs)} | {kind: [p for p in pairs if p.kind == kind] for kind in kinds}
    return {name: _count(part, verdicts) for name, part in parts.items()}


def _count(pairs: Sequence[Pair], verdicts: Mapping[int, str]) -> Count:
    decided = [p for p in pairs if verdicts[p.number] != "equal"]
    a = sum((p.left == "a") == (verdicts[p.number] == "left") for p in decided)
    return Count(a, len(decided) - a, len(pairs) - len(decided))


def table(rows: Mapping[str, Count]) -> list[str]:
    """Markdown, a row for each kind; the interval is Wilson's at 95 %."""
    lines = ["| kind | pairs | A better | B better | equal | B among the decided |", "|---|---|---|---|---|---|"]
    for kind, count in rows.items():
        rate = wilson(count.b, count.a + count.b)
        shown = f"{100 * rate.value:.1f} % [{100 * rate.low:.1f}, {100 * rate.high:.1f}]" if rate.n else "none decided"
        lines.append(f"| {kind} | {sum(count)} | {count.a} | {count.b} | {count.equal} | {shown} |")
    return lines


def read_key(path: Path) -> list[Pair]:
    """The pairs of a key.

    Raises:
        InputError: if it is missing, lacks a column, or has a number twice or another side than a or b.
    """
    pairs = []
    for row in read_rows(path, ("number", "left")):
        if row["left"] not in ("a", "b"):
            raise InputError(f"{path}: number {row['number']} has left={row['left']!r}, expected a or b")
        pairs.append(Pair(_number(path, row), row.get("name") or "", row["left"], row.get("kind") or ""))
    _once(path, [p.number for p in pairs])
    return pairs


def read_verdicts(path: Path, pairs: Sequence[Pair]) -> dict[int, str]:
    """The verdict of each number of the key.

    Raises:
        InputError: if the file is missing or lacks a column, for an unknown verdict, and for a number that is missing,
            there twice, or not in the key.
    """
    rows = [(_number(path, row), row["verdict"].strip().lower()) for row in read_rows(path, ("number", "verdict"))]
    _once(path, [number for number, _ in rows])
    expected = {p.number for p in pairs}
    for number, verdict in rows:
        if number not in expected:
            raise InputError(f"{path}: number {number} is not in the key; give the key that was written with it")
        if verdict not in VERDICTS:
            raise InputError(f"{path}: number {number} has the verdict {verdict!r}, expected {', '.join(VERDICTS)}")
    if missing := sorted(expected - {number for number, _ in rows}):
        raise InputError(f"{path}: no verdict for number {some(missing)}; every pair needs one")
    return dict(rows)


def read_rows(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """The lines of a CSV file, by column.

    Raises:
        InputError: if it cannot be read, is empty, or lacks one of the columns `needed`.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            rows = list(csv.DictReader(handle))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if not rows:
        raise InputError(f"{path}: has no line, expected the columns {', '.join(needed)} and a line for each")
    for number, row in enumerate(rows, 2):
        if missing := [name for name in needed if row.get(name) is None]:
            raise InputError(
                f"{path}: line {number} has no {', '.join(missing)}; expected the columns {', '.join(needed)}"
            )
    return rows


def _number(path: Path, row: Mapping[str, str]) -> int:
    try:
        return int(row["number"])
    except ValueError:
        raise InputError(f"{path}: got the number {row['number']!r}, expected a whole one") from None


def _once(path: Path, numbers: Sequence[int]) -> None:
    if twice := sorted({n for n in numbers if numbers.count(n) > 1}):
        raise InputError(f"{path}: number {some(twice)} is there twice; every pair has one line")


def some(values: Sequence[object]) -> str:
    """At most five of them for a message, and how many more there are."""
    return ", ".join(map(str, values[:5])) + (f" and {len(values) - 5} more" if len(values) > 5 else "")


def write_pairs(options: BlindOptions) -> list[Pair]:
    """Writes pictures, key and empty verdicts.

    Raises:
        ConfigError: if the key would lie among the pictures.
        InputError: if a folder is missing or empty, or the pictures of a pair do not go together.
        OutputError: if something of an earlier sheet is there already, or nothing can be written.
    """
    folder, key, sheet = Path(options.dst), Path(options.key), Path(options.verdicts)
    if folder.resolve() in key.resolve().parents:
        raise ConfigError(f"key: got {key}, which lies among the pairs in {folder}; the judge must not see it")
    if folder.is_dir() and any(folder.iterdir()):
        raise OutputError(f"dst: {folder} is not empty; choose another dst=DIR")
    for name, file in (("key", key), ("verdicts", sheet)):
        if file.exists():
            raise OutputError(f"{name}: {file} exists, and may hold somebody's work; choose another {name}=FILE")
    sides = {"a": _pictures(Path(options.a), "a"), "b": _pictures(Path(options.b), "b")}
    inputs = _pictures(Path(options.inputs), "inputs") if options.inputs else {}
    for name, pictures, others in (("b", sides["b"], sides["a"]), ("a", sides["a"], sides["b"])):
        if missing := sorted(set(others) - set(pictures)):
            raise InputError(f"{name}: {options.a if name == 'a' else options.b} has no {some(missing)}")
    if options.inputs and (missing := sorted(set(sides["a"]) - set(inputs))):
        raise InputError(f"inputs: {options.inputs} has no {some(missing)}")
    names = sorted(sides["a"])
    pairs = pairs_of(names, _kinds(options, names), options.seed)
    digits = max(3, len(str(len(pairs))))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for pair in pairs:
            right = "b" if pair.left == "a" else "a"
            results = [_read(sides[side][pair.name]) for side in (pair.left, right)]
            shown_input = [_read(inputs[pair.name])] if inputs else []
            picture = _beside(pair.name, shown_input, results)
            write_image(folder / f"{pair.number:0{digits}d}.png", Frame(picture), ImageMeta())
        _write(key, _KEY, pairs)
        _write(sheet, _SHEET, [(p.number, "", "") for p in pairs])
    except OSError as error:
        raise OutputError(f"dst: cannot write to {folder} ({error.strerror}); choose another dst=DIR") from error
    return pairs


def run(options: BlindOptions) -> None:
    """Writes pairs, or reads the verdicts on them. See `write_pairs`, `read_key` and `read_verdicts`."""
    if options.a:
        pairs = write_pairs(options)
        print(f"{len(pairs)} pairs in {options.dst}; verdicts go into {options.verdicts}; the key is {options.key}")
        return
    pairs = read_key(Path(options.key))
    if options.kinds:
        kinds = _kinds(options, [p.name for p in pairs])
        pairs = [p._replace(kind=kinds[p.name]) for p in pairs]
    lines = table(counts(pairs, read_verdicts(Path(options.verdicts), pairs)))
    if options.result:
        write_markdown(Path(options.result), "Blind comparison", lines)
    print("\n".join(lines))


def _pictures(folder: Path, option: str) -> dict[str, Path]:
    """The pictures of a folder by name without suffix."""
    if not folder.is_dir():
        raise InputError(f"{option}: {folder} is no folder; give one with pictures")
    pictures = dict[str, Path]()
    for file in sorted(folder.iterdir()):
        if file.is_file() and file.suffix.lower() in _SUFFIXES:
            if file.stem in pictures:
                raise InputError(f"{option}: {pictures[file.stem]} and {file.name} have one name; remove one of them")
            pictures[file.stem] = file
    if not pictures:
        raise InputError(f"{option}: {folder} holds no picture ({', '.join(_SUFFIXES)})")
    return pictures


def _kinds(options: BlindOptions, names: Sequence[str]) -> dict[str, str]:
    if not options.kinds:
        return {name: name.partition("__")[0] if "__" in name else "" for name in names}
    path = Path(options.kinds)
    rows = {Path(row["name"]).stem: row["kind"] for row in read_rows(path, ("name", "kind"))}
    if missing := sorted(set(names) - set(rows)):
        raise InputError(f"{path}: no kind for {some(missing)}")
    return {name: rows[name] for name in names}


def _read(path: Path) -> Pixels:
    pixels = read_image(path).frame.pixels
    return pixels if pixels.dtype == np.uint8 else to_integer(to_float(pixels))


def _beside(name: str, inputs: Sequence[Pixels], results: Sequence[Pixels]) -> Pixels:
    """The input, brought to the results' size, and both results, with grey between."""
    first, second = results
    if first.shape != second.shape:
        sizes = " and ".join(f"{p.shape[1]}x{p.shape[0]}" for p in results)
        raise InputError(f"{name}: got results of {sizes} pixels, expected one size, or the size tells whose it is")
    height, width = first.shape[:2]
    scaled = [
        p if p.shape == first.shape else cv2.resize(p, (width, height), interpolation=cv2.INTER_CUBIC) for p in inputs
    ]
    gap = np.full((height, _GAP, 3), 128, np.uint8)
    parts = [part for picture in (*scaled, *results) for part in (gap, picture)]
    return np.concatenate(parts[1:], 1)


def _write(path: Path, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with atomic_output(path) as partial, partial.open("w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerows([head, *rows])


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(BlindOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
