"""Blind pairs: only the key tells the sides, and the win rate is the known one."""

from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

from experiments.blind.blind import (
    BlindOptions,
    Pair,
    counts,
    main,
    pairs_of,
    read_key,
    read_verdicts,
    run,
    table,
    write_pairs,
)
from likeness.errors import ConfigError, InputError, OutputError

NAMES = ["clip__one", "clip__two", "old__three", "old__four", "plain"]


def picture(path: Path, value: int, size: tuple[int, int] = (40, 30)) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)


@pytest.fixture
def options(tmp_path: Path) -> BlindOptions:
    """Results of A are darker than 100, those of B brighter; inputs are half as large."""
    for i, name in enumerate(NAMES):
        picture(tmp_path / "a" / f"{name}.png", 50 + i)
        picture(tmp_path / "b" / f"{name}.png", 150 + i)
        picture(tmp_path / "in" / f"{name}.bmp", 200 + i, (20, 15))
    where = {n: str(tmp_path / n) for n in ("a", "b")}
    out = {"dst": str(tmp_path / "out" / "pairs"), "key": str(tmp_path / "out" / "key.csv")}
    return BlindOptions(**where, inputs=str(tmp_path / "in"), **out, verdicts=str(tmp_path / "out" / "verdicts.csv"))


def reading(options: BlindOptions, **more: str) -> BlindOptions:
    return BlindOptions(key=options.key, verdicts=options.verdicts, **more)


def judge(options: BlindOptions, verdicts: dict[int, str]) -> None:
    rows = [f"{number},{verdict},because" for number, verdict in verdicts.items()]
    Path(options.verdicts).write_text("\n".join(["number,verdict,why", *rows]) + "\n")


def test_pictures_show_input_and_both_sides_at_full_size_in_the_order_of_the_key(options: BlindOptions) -> None:
    pairs = write_pairs(options)
    folder = Path(options.dst)
    assert sorted(f.name for f in folder.iterdir()) == [f"{n:03d}.png" for n in range(1, 6)]
    assert pairs == read_key(Path(options.key))
    assert sorted(p.name for p in pairs) == sorted(NAMES)
    assert {p.name: p.kind for p in pairs} == {n: n.partition("__")[0] if "__" in n else "" for n in NAMES}
    for pair in pairs:
        with Image.open(folder / f"{pair.number:03d}.png") as image:
            shown, metadata = np.asarray(image), dict(image.info)
        assert shown.shape == (30, 3 * 40 + 2 * 16, 3)
        i = NAMES.index(pair.name)
        left, right = (50 + i, 150 + i) if pair.left == "a" else (150 + i, 50 + i)
        assert [int(shown[15, x, 0]) for x in (20, 76, 132)] == [200 + i, left, right]
        assert np.unique(shown[:, 56:96]).tolist() == [left]
        assert not metadata  # no name, no date
    with Path(options.verdicts).open() as handle:
        rows = list(csv.DictReader(handle))
    assert [r["number"] for r in rows] == ["1", "2", "3", "4", "5"]
    assert {(r["verdict"], r["why"]) for r in rows} == {("", "")}


def test_sides_and_order_are_random_balanced_and_repeatable() -> None:
    names = [f"{i:03d}" for i in range(100)]
    one, again, other = pairs_of(names, {}, 0), pairs_of(names, {}, 0), pairs_of(names, {}, 1)
    assert one == again
    assert [p.left for p in one] != [p.left for p in other]
    assert [p.number for p in one] == list(range(1, 101))
    assert sum(p.left == "a" for p in one) == 50
    assert [p.name for p in one] != names
    by_name = [p.left for p in sorted(one, key=lambda p: p.name)]
    assert 30 < sum(a != b for a, b in pairwise(by_name)) < 70


def test_win_rate_is_that_of_b_among_decided_pairs(options: BlindOptions, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = write_pairs(options)
    wanted = {"clip__one": "b", "clip__two": "b", "old__three": "a", "old__four": "equal", "plain": "b"}
    verdicts = {
        p.number: "equal" if (w := wanted[p.name]) == "equal" else "left" if w == p.left else "right" for p in pairs
    }
    judge(options, verdicts)
    result = Path(options.key).with_name("result.md")
    run(reading(options, result=str(result)))
    ci = binomtest(3, 4).proportion_ci(method="wilson")
    expected = [
        f"| all pairs | 5 | 1 | 3 | 1 | 75.0 % [{100 * ci.low:.1f}, {100 * ci.high:.1f}] |",
        "| clip | 2 | 0 | 2 | 0 | 100.0 % [34.2, 100.0] |",
        "| old | 2 | 1 | 0 | 1 | 0.0 % [0.0, 79.3] |",
    ]
    assert capsys.readouterr().out.splitlines()[2:] == expected
    assert all(line in result.read_text() for line in expected)


def test_kinds_of_a_file_replace_those_of_the_names(options: BlindOptions, tmp_path: Path) -> None:
    pairs = write_pairs(options)
    file = tmp_path / "kinds.csv"
    file.write_text("name,kind\n" + "".join(f"{n}.png,{'x' if n == 'plain' else 'y'}\n" for n in NAMES))
    judge(options, {p.number: "left" for p in pairs})
    run(reading(options, kinds=str(file), result=str(tmp_path / "r.md")))
    text = (tmp_path / "r.md").read_text()
    assert "| x | 1 |" in text
    assert "| y | 4 |" in text
    assert "clip" not in text
    file.write_text("name,kind\nplain,x\n")
    with pytest.raises(InputError, match="no kind for clip__one"):
        run(reading(options, kinds=str(file)))


def test_no_rate_is_stated_without_decided_pairs() -> None:
    pairs = [Pair(1, "x", "a", ""), Pair(2, "y", "b", "")]
    assert table(counts(pairs, {1: "equal", 2: "equal"}))[2] == "| all pairs | 2 | 0 | 0 | 2 | none decided |"


GOOD = {1: "left", 2: "right", 3: "equal", 4: "Left ", 5: "left"}
WRONG = {
    "unknown": (
        "number,verdict,why\n1,left,\n2,both,\n",
        "number 2 has the verdict 'both', expected left, right, equal",
    ),
    "empty": ("number,verdict,why\n1,left,\n2,,\n", "number 2 has the verdict ''"),
    "missing": ("number,verdict,why\n1,left,\n3,left,\n", "no verdict for number 2, 4, 5"),
    "twice": ("number,verdict,why\n1,left,\n2,left,\n1,right,\n", "number 1 is there twice"),
    "not in the key": ("number,verdict,why\n1,left,\n9,right,\n", "number 9 is not in the key"),
    "no number": ("number,verdict,why\none,left,\n", "got the number 'one'"),
    "no column": ("number,why\n1,good\n", "has no verdict"),
    "short line": ("number,verdict,why\n1\n", "line 2 has no verdict"),
    "no line": ("number,verdict,why\n", "has no line"),
}


@pytest.mark.parametrize("case", WRONG)
def test_invalid_verdicts_are_refused(options: BlindOptions, case: str) -> None:
    write_pairs(options)
    text, message = WRONG[case]
    Path(options.verdicts).write_text(text)
    with pytest.raises(InputError, match=message):
        run(reading(options))
    judge(options, GOOD)
    assert read_verdicts(Path(options.verdicts), read_key(Path(options.key)))[4] == "left"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("number,name,left,kind\n1,x,c,\n", "left='c'"),
        ("number,name,left,kind\n1,x,a,\n1,y,b,\n", "number 1 is there twice"),
    ],
)
def test_invalid_key_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "key.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_key(tmp_path / "key.csv")
    with pytest.raises(InputError, match="cannot be read"):
        read_key(tmp_path / "none.csv")


def test_key_among_the_pictures_is_refused(options: BlindOptions) -> None:
    options.key = f"{options.dst}/deeper/key.csv"
    with pytest.raises(ConfigError, match="must not see it"):
        write_pairs(options)
    assert not Path(options.dst).exists()


@pytest.mark.parametrize("which", ["dst", "key", "verdicts"])
def test_files_of_an_earlier_sheet_are_not_overwritten(options: BlindOptions, which: str) -> None:
    file = Path(getattr(options, which))
    if which == "dst":
        file = file / "001.png"
    file.parent.mkdir(parents=True)
    file.write_text("work")
    with pytest.raises(OutputError, match=f"^{which}: "):
        write_pairs(options)
    assert file.read_text() == "work"


@pytest.mark.parametrize("folder", ["a", "b", "in"])
def test_picture_missing_in_one_folder_is_refused(options: BlindOptions, tmp_path: Path, folder: str) -> None:
    next((tmp_path / folder).glob("plain.*")).unlink()
    with pytest.raises(InputError, match=rf"{folder} has no plain"):
        write_pairs(options)
    assert not Path(options.dst).exists()


def test_results_of_two_sizes_are_refused(options: BlindOptions, tmp_path: Path) -> None:
    picture(tmp_path / "b" / "plain.png", 150, (80, 60))
    with pytest.raises(InputError, match="plain: got results of"):
        write_pairs(options)


def test_error_ends_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"a={tmp_path}"]) == ConfigError.exit_code
    assert capsys.readouterr().err.startswith("error: ")
    assert main([f"a={tmp_path}", f"b={tmp_path}"]) == InputError.exit_code
    assert "holds no picture" in capsys.readouterr().err
