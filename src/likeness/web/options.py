"""A client's options, checked against the same dataclasses as those of the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from math import isfinite
from typing import Any

from likeness.errors import ConfigError
from likeness.pipeline.config import RestorerConfig, from_overrides
from likeness.pipeline.options import options
from likeness.stages.repair.base import REPAIRS

# The owner's: they name files of the server, or load the machine otherwise than its owner wants.
OWNERS = frozenset({
    "device", "precision", "runtime", "resume", "expert.file", "background.file", "detect.file", "guard.recogniser",
    *(option.key for option in options() if option.key.startswith("weights.")),
})  # fmt: skip
CHOICES = {"repair.name": REPAIRS}  # the other values of these options name files of the server
LONGEST = 200  # characters of a text value
KNOWN = tuple(option.key for option in options() if option.key not in OWNERS)


def parse_options(text: str) -> tuple[str, ...]:
    """The `key=value` words of a JSON object such as {"upscale": 2, "faces": {"min": 60}} or {"faces.min": 60}.

    Raises:
        ConfigError: for text that is no JSON object, an unknown option (the nearest one is named), one that only the
            server's owner may set, or a value of the wrong kind.
    """
    try:
        given = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise ConfigError(f'options: no JSON ({error}); expected an object such as {{"upscale": 2}}') from error
    if not isinstance(given, dict):
        raise ConfigError(f'options: got a JSON {type(given).__name__}, expected an object such as {{"upscale": 2}}')
    return tuple(f"{key}={_word(key, value)}" for key, value in _flat(given))


def config_of(owner: Sequence[str], words: Sequence[str]) -> RestorerConfig:
    """The owner's options with a client's over them.

    Raises:
        ConfigError: for values that make no sense.
    """
    return from_overrides([*owner, *words])


def _flat(given: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in given.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield _known(prefix + name), value


def _known(key: str) -> str:
    if key in OWNERS:
        raise ConfigError(f"options: {key} is set by the owner of the server; leave it out")
    if key not in KNOWN:
        near = get_close_matches(key, KNOWN, 1, 0.5)
        raise ConfigError(f"options: {key[:80]!r} is unknown" + (f"; did you mean {near[0]}?" if near else ""))
    return key


def _word(key: str, value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        if not isfinite(value):
            raise ConfigError(f"options: {key}: got {value}, expected a finite number")
        return repr(value)
    if not isinstance(value, str):
        raise ConfigError(f"options: {key}: got a JSON {type(value).__name__}, expected a number, text or truth value")
    if len(value) > LONGEST or not value.isprintable():
        raise ConfigError(f"options: {key}: got {value[:80]!r}, expected up to {LONGEST} printable characters")
    if value not in CHOICES.get(key, (value,)):
        raise ConfigError(f"options: {key}: got {value[:80]!r}, expected {', '.join(CHOICES[key])}")
    if "${" in value:  # OmegaConf would look it up, in the environment too
        raise ConfigError(f"options: {key}: got {value[:80]!r}, expected a value without ${{")
    return value
