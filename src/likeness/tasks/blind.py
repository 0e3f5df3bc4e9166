"""Which of two results looks better, when nobody knows whose it is? `python -m likeness.tasks.blind`.

With a=DIR and b=DIR it writes numbered pairs of pictures, an empty sheet of verdicts, and the key in a file beside
them. Without, it reads key and verdicts and states how often B was preferred.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from likeness.errors import ConfigError, InputError, OutputError
from likeness.evaluation import provenance
from likeness.evaluation.blind import Pair, counts, pairs_of, read_key, read_rows, read_verdicts, some, table
from likeness.media.files import atomic_output
from likeness.media.images import ImageMeta, read_image, write_image
from likeness.ops.color import to_float, to_integer
from likeness.tasks import arguments
from likeness.types import Frame, Pixels

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
        key: file that tells which side is whose; outside of `dst`, and not for who judges.
        verdicts: file with a line for each pair, for who judges.
        kinds: file with the columns name and kind; empty takes what stands before `__` in a file's name.
        result: file of the win rates, .md; empty prints them alone.
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


def write_pairs(options: BlindOptions) -> list[Pair]:
    """Writes pictures, key and empty verdicts.

    Raises:
        ConfigError: if the key would lie among the pictures.
        InputError: if a folder is missing or empty, or the pictures of a pair do not go together.
        OutputError: if something of an earlier sheet is there already, or nothing can be written.
    """
    folder, key, sheet = Path(options.dst), Path(options.key), Path(options.verdicts)
    if folder.resolve() in key.resolve().parents:
        raise ConfigError(f"key: got {key}, which lies among the pairs in {folder}; who judges must not see it")
    if folder.is_dir() and any(folder.iterdir()):
        raise OutputError(f"dst: {folder} is not empty; choose another dst=DIR")
    for name, file in (("key", key), ("verdicts", sheet)):
        if file.exists():
            raise OutputError(f"{name}: {file} exists, and may hold somebody's work; choose another {name}=FILE")
    sides = {"a": _pictures(Path(options.a), "a"), "b": _pictures(Path(options.b), "b")}
    shown = _pictures(Path(options.inputs), "inputs") if options.inputs else {}
    for name, there, others in (("b", sides["b"], sides["a"]), ("a", sides["a"], sides["b"])):
        if missing := sorted(set(others) - set(there)):
            raise InputError(f"{name}: {options.a if name == 'a' else options.b} has no {some(missing)}")
    if options.inputs and (missing := sorted(set(sides["a"]) - set(shown))):
        raise InputError(f"inputs: {options.inputs} has no {some(missing)}")
    names = sorted(sides["a"])
    pairs = pairs_of(names, _kinds(options, names), options.seed)
    digits = max(3, len(str(len(pairs))))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for pair in pairs:
            right = "b" if pair.left == "a" else "a"
            two = [_read(sides[side][pair.name]) for side in (pair.left, right)]
            given = [_read(shown[pair.name])] if shown else []
            picture = _beside(pair.name, given, two)
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
        provenance.write_markdown(Path(options.result), "Blind comparison", lines)
    print("\n".join(lines))


def _pictures(folder: Path, option: str) -> dict[str, Path]:
    """The pictures of a folder by name without suffix."""
    if not folder.is_dir():
        raise InputError(f"{option}: {folder} is no folder; give one with pictures")
    found = dict[str, Path]()
    for file in sorted(folder.iterdir()):
        if file.is_file() and file.suffix.lower() in _SUFFIXES:
            if file.stem in found:
                raise InputError(f"{option}: {found[file.stem]} and {file.name} have one name; remove one of them")
            found[file.stem] = file
    if not found:
        raise InputError(f"{option}: {folder} holds no picture ({', '.join(_SUFFIXES)})")
    return found


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


def _beside(name: str, given: Sequence[Pixels], two: Sequence[Pixels]) -> Pixels:
    """The input, brought to the results' size, and both results, with grey between."""
    if two[0].shape != two[1].shape:
        sizes = " and ".join(f"{p.shape[1]}x{p.shape[0]}" for p in two)
        raise InputError(f"{name}: got results of {sizes} pixels, expected one size, or the size tells whose it is")
    height, width = two[0].shape[:2]
    scaled = [
        p if p.shape == two[0].shape else cv2.resize(p, (width, height), interpolation=cv2.INTER_CUBIC) for p in given
    ]
    gap = np.full((height, _GAP, 3), 128, np.uint8)
    parts = [part for picture in (*scaled, *two) for part in (gap, picture)]
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
