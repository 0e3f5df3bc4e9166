"""The commands of Markdown pages, and what is wrong with one: unknown commands, scripts, options and values.

Nothing is restored, trained or evaluated: each command goes through the parser that it would meet.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import runpy
import shlex
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from unittest import mock

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig

from likeness import cli
from likeness.errors import LikenessError
from likeness.evaluation.benchmarks.registry import OPENERS
from likeness.evaluation.config import from_hydra
from likeness.evaluation.methods.crops import METHODS
from likeness.evaluation.methods.routing import CHOICES
from likeness.pipeline.config import to_config
from likeness.tasks import arguments
from likeness.web.serve import settings_of

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^ *```(?:bash|sh|shell|console)\b[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
OWN_NAMES = "docs/extending/"  # these pages add recipes and methods of their own, so values may be unknown


@dataclass(frozen=True)
class Command:
    """One command of a page.

    Attributes:
        page: path from the repository's root.
        words: as the shell splits them, without comments.
    """

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"


def pages() -> list[Path]:
    """README, the contributor's page and all of docs/."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(page: str, text: str) -> Iterator[Command]:
    """The commands of the page's shell blocks; operators such as && and | separate them."""
    for block in FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line.strip().removeprefix("$ "), posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            words: list[str] = []
            for word in [*lexer, ";"]:
                if set(word) <= set("|&;<>()"):
                    if words:
                        yield Command(page, tuple(words))
                    words = []
                elif words or not re.fullmatch(r"[A-Z_]+=.*", word):  # a variable before the command
                    words.append(word)


def fault(command: Command) -> str | None:
    """What is wrong with a command; None where it is right, or no command of ours."""
    words = command.words
    programs = [Path(word).name for word in words]
    if programs[0] == "likeness":
        return _console(words[1:])
    if programs[0] == "make":
        known = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return next((f"no target {word}" for word in words[1:] if "=" not in word and word not in known), None)
    if "pip" in programs[:4]:
        return _extras(words)
    if "-m" in words[:-1]:
        at = words.index("-m") + 1
        return _module(words[at], words[at + 1 :]) if words[at].startswith("likeness") else None
    script = next((i for i, word in enumerate(words) if word.endswith(".py")), None)
    return None if script is None else _script(command.page, words[script], words[script + 1 :])


def _console(words: Sequence[str]) -> str | None:
    """`likeness ...`; the functions that would do the work are replaced."""
    started: list[object] = []

    def start(*given: object, **options: object) -> int:
        started.append(given)
        return 0

    if not words or {"--help", "--help-all", "help"} & set(words[:1]):
        return None
    if words[0] in cli.COMMANDS:
        return _module(f"likeness.tasks.{words[0]}", words[1:])
    if words[0] == "serve":
        try:
            settings_of(words[1:])
        except LikenessError as error:
            return str(error)
        return None
    if words[0] not in ("restore", "demo", "live"):
        return f"no command {words[0]}"
    said = io.StringIO()
    with (
        mock.patch("likeness.cli.restore_all", start),
        mock.patch("likeness.tasks.demo.run_demo", start),
        mock.patch("likeness.tasks.live.run_live", start),
        contextlib.redirect_stderr(said),
    ):
        code = cli.main(words)
    return said.getvalue() or None if code or started else "it starts nothing"


def _module(name: str, words: Sequence[str]) -> str | None:
    """`python -m likeness...`: its options are parsed as if it were run."""
    if find_spec(name) is None:
        return f"no module {name}"
    module = importlib.import_module(name)
    return _parsed(str(module.__file__), words)


def _parsed(file: str, words: Sequence[str]) -> str | None:
    """Runs a file of `likeness.tasks.arguments` up to the parser."""
    faults: list[str | None] = []

    def parse(kind: type, run: object, given: Sequence[str] | None = None, about: str = "") -> int:
        try:
            arguments.parse(kind, sys.argv[1:] if given is None else given, about)
            faults.append(None)
        except LikenessError as error:
            faults.append(str(error))
        return 0

    if "arguments.main(" not in Path(file).read_text():
        return None if not words or not any("=" in word for word in words) else f"{file} does not parse options"
    with (
        mock.patch.object(arguments, "main", parse),
        mock.patch.object(sys, "argv", [file, *words]),
        contextlib.suppress(SystemExit),
    ):
        runpy.run_path(file, run_name="__main__")
    return faults[0] if faults else f"{file} parses no options"


def _script(page: str, name: str, words: Sequence[str]) -> str | None:
    if name in ("infer.py", "train.py", "evaluate.py"):
        importlib.import_module(name.removesuffix(".py"))  # registers its options with Hydra
        try:
            return _composed(page, name.removesuffix(".py"), words)
        except (HydraException, LikenessError) as error:
            return str(error)
    if not name.startswith(("examples/", "experiments/")):
        return None  # the reader's own
    if not (ROOT / name).is_file():
        return f"no file {name}"
    return _parsed(str(ROOT / name), words) if name.startswith("experiments/") else None


def _composed(page: str, name: str, words: Sequence[str]) -> str | None:
    if name == "infer":
        words = cli.spell_out(cli.split_paths(words)[1], quote=True)
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        cfg: DictConfig = compose(name, list(words))
    if page.startswith(OWN_NAMES):
        return None
    if name == "infer":
        to_config(cfg)
    if name == "evaluate":
        options = from_hydra(cfg)
        if options.benchmark.name in OPENERS:  # the others name their methods elsewhere
            unknown = set(options.methods) - {*METHODS.names, *CHOICES}
            return f"methods: unknown {', '.join(sorted(unknown))}" if unknown else None
    return None


def _extras(words: Sequence[str]) -> str | None:
    """Extras that a `pip install` names."""
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    lists = [match[1] for word in words if (match := re.match(r"(?:\.|likeness)\[([\w,]+)\]", word))]
    unknown = {extra for names in lists for extra in names.split(",")} - set(known)
    return f"no extra {', '.join(sorted(unknown))}" if unknown else None
