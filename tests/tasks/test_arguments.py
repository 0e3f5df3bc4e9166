"""`key=value` arguments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from omegaconf import MISSING

from likeness.errors import ConfigError, InputError
from likeness.tasks.arguments import main, parse


@dataclass
class Options:
    """Does something.

    Attributes:
        src: where from.
    """

    src: str = MISSING
    note: str = ""
    size: int = 512
    share: float = 0.5
    least: float | None = None
    fast: bool = False
    config: dict[str, Any] = field(default_factory=dict)


GOOD = {
    "needed alone": (["src=a"], Options("a")),
    "numbers": (["src=a", "size=7", "share=1e-3", "least=3"], Options("a", size=7, share=0.001, least=3.0)),
    "flag": (["src=a", "fast=true"], Options("a", fast=True)),
    "none": (["src=a", "least=null"], Options("a")),
    "nested": (["src=a", "config.widths=[1,2]", "config.n=3"], Options("a", config={"widths": [1, 2], "n": 3})),
    "name like a number": (["src=1e3"], Options("1e3")),
    "name with everything": (["src=a=b, [c] {d} 'e' ${f} #g.jpg"], Options("a=b, [c] {d} 'e' ${f} #g.jpg")),
    "name like nothing": (["src=null", "note=???"], Options("null", "???")),
}


@pytest.mark.parametrize("name", GOOD)
def test_parsed(name: str) -> None:
    arguments, expected = GOOD[name]
    before = list(arguments)
    assert parse(Options, arguments) == expected
    assert arguments == before


BAD = {
    "misspelt": (["src=a", "sise=3"], "got 'sise=3', expected KEY=VALUE with KEY one of src, note, size"),
    "no value": (["src"], "got 'src', expected KEY=VALUE"),
    "missing": (["size=3"], r"got no src, expected src=\.\.\."),
    "twice": (["src=a", "src=b"], "got src twice"),
    "wrong type": (["src=a", "size=big"], "size: .*'big'"),
    "nested where none is": (["src=a", "size.x=3"], "size"),
}


@pytest.mark.parametrize("name", BAD)
def test_refused_with_one_line(name: str) -> None:
    arguments, message = BAD[name]
    with pytest.raises(ConfigError, match=message) as error:
        parse(Options, arguments)
    assert "\n" not in str(error.value)


def test_help_states_the_options_and_their_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        parse(Options, ["--help"], "This is about something.")
    assert leaving.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith("This is about something.")
    for part in ("src: where from.", "src=(needed)", "size=512", "least=null", "fast=false", "config={}"):
        assert part in text


def test_main_returns_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    seen = []
    assert main(Options, seen.append, ["src=a"]) == 0
    assert seen == [Options("a")]
    assert main(Options, seen.append, ["scr=a"]) == ConfigError.exit_code
    assert capsys.readouterr().err.startswith("error: got 'scr=a'")

    def fails(options: Options) -> None:
        raise InputError(f"{options.src} is empty")

    assert main(Options, fails, ["src=a"]) == InputError.exit_code
    assert capsys.readouterr().err == "error: a is empty\n"


def test_other_errors_are_not_hidden() -> None:
    def fails(options: Options) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        main(Options, fails, ["src=a"])
