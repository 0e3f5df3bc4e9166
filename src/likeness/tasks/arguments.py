"""`key=value` arguments of the tasks: a dataclass holds the options, OmegaConf checks them."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import Field, fields, replace
from typing import Any, TypeVar, cast

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from likeness.errors import ConfigError, LikenessError

Options = TypeVar("Options")
_VERBATIM = {"str", "str | None"}


def parse(kind: type[Options], arguments: Sequence[str], about: str = "") -> Options:
    """Builds the options from `key=value` arguments; nested keys are joined by dots.

    Values of text options are taken verbatim: a file may be called `1e3.jpg` or `a [b], c.jpg`. All
    others are read as YAML and must fit the option's type.

    Args:
        kind: a dataclass whose fields have types and defaults; `omegaconf.MISSING` marks a needed one.
        arguments: for example `["src=photos", "size=512"]`; `--help` writes the help and exits.
        about: what the task does, the first part of the help.

    Raises:
        SystemExit: after `--help`, with code 0.
        ConfigError: for a misspelt or missing key, a key given twice, or a value that does not fit.

    Examples:
        >>> from likeness.tasks.prepare import PrepareOptions
        >>> parse(PrepareOptions, ["src=my photos", "dst=faces", "val=0.2"]).val
        0.2
    """
    if {"--help", "-h"} & set(arguments):
        sys.stdout.write(usage(kind, about))
        raise SystemExit(0)
    known: dict[str, Field[Any]] = {f.name: f for f in fields(cast(Any, kind))}
    texts: dict[str, str] = {}
    rest: list[str] = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        name = key.split(".")[0]
        if not equals or name not in known:
            raise ConfigError(f"got {argument!r}, expected KEY=VALUE with KEY one of {', '.join(known)}; see --help")
        if str(known[name].type) not in _VERBATIM:
            rest.append(argument)
        elif key in texts:
            raise ConfigError(f"got {key} twice ({texts[key]!r} and {value!r}), expected it once")
        else:
            texts[key] = value
    missing = [name for name, f in known.items() if f.default == MISSING and name not in texts]
    if missing:
        raise ConfigError(f"got no {', '.join(missing)}, expected {' '.join(f'{m}=...' for m in missing)}; see --help")
    placeholders = dict.fromkeys(texts, "")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(kind), OmegaConf.from_dotlist(rest), placeholders)
        made = cast(Any, OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {str(error).splitlines()[0]}; see --help") from error
    return cast(Options, replace(made, **texts))


def usage(kind: type[Any], about: str = "") -> str:
    """The help text: what the task does, its options and their defaults."""
    lines = [about.strip(), "", "Options are given as KEY=VALUE.", inspect.getdoc(kind) or "", "", "Defaults:"]
    for f in fields(kind):
        default = f.default_factory() if f.default_factory is not NO_DEFAULT else f.default
        shown = {MISSING: "(needed)", "None": "null", "True": "true", "False": "false"}.get(str(default), default)
        lines.append(f"    {f.name}={shown}")
    return "\n".join(lines).lstrip() + "\n"


def main(
    kind: type[Options], run: Callable[[Options], object], arguments: Sequence[str] | None = None, about: str = ""
) -> int:
    """Parses, runs, and turns an error of ours into one line.

    Args:
        kind: the options.
        run: the task.
        arguments: None = those of the command line.
        about: see `parse`.

    Returns:
        The exit code: 0, or that of the error.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        run(parse(kind, sys.argv[1:] if arguments is None else arguments, about))
    except LikenessError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0
