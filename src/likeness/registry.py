"""Registries: the experts, detectors and backgrounds to choose from, by name.

A new one is one file that calls `add`; see examples/own_expert.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from likeness.errors import ConfigError

Options = TypeVar("Options")
Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class Entry(Generic[Options, Loaded]):
    """One choice.

    Attributes:
        name: what the user types.
        reads, writes: its contract, for people.
        cost: what it needs, for people.
        load: makes it ready to run.
        files: its weight files by name, for the report; beside those that it hashes itself.
    """

    name: str
    reads: str
    writes: str
    cost: str
    load: Callable[[Options], Loaded]
    files: Callable[[Options], Mapping[str, Path]] = lambda _: {}


class Registry(Generic[Options, Loaded]):
    """Entries by name.

    Args:
        option: the option that names one, for messages.

    Examples:
        >>> numbers: Registry[None, int] = Registry("number")
        >>> numbers.add(Entry("one", "nothing", "an integer", "nothing", lambda options: 1))
        >>> numbers["one"].load(None)
        1
        >>> numbers["two"]
        Traceback (most recent call last):
        likeness.errors.ConfigError: number: got 'two', expected one
    """

    def __init__(self, option: str) -> None:
        self.option = option
        self._entries: dict[str, Entry[Options, Loaded]] = {}

    def add(self, entry: Entry[Options, Loaded]) -> None:
        """Adds a choice.

        Raises:
            ConfigError: if the name is taken.
        """
        if entry.name in self._entries:
            raise ConfigError(f"{self.option}: {entry.name!r} is taken; choose another name")
        self._entries[entry.name] = entry

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in the order in which they were added."""
        return tuple(self._entries)

    def __getitem__(self, name: str) -> Entry[Options, Loaded]:
        """The entry of a name.

        Raises:
            ConfigError: for an unknown name.
        """
        if name not in self._entries:
            raise ConfigError(f"{self.option}: got {name!r}, expected {', '.join(self._entries)}")
        return self._entries[name]
