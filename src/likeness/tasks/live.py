"""`likeness live`: restores a stream while it runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from likeness.errors import ConfigError
from likeness.media.naming import refuse_overwrite
from likeness.pipeline.config import RestorerConfig
from likeness.pipeline.live import LiveRestorer
from likeness.pipeline.restorer import Restorer


def take_addresses(words: Sequence[str]) -> tuple[str, str, list[str]]:
    """Takes `source=` and `sink=` out of the arguments, verbatim.

    Raises:
        ConfigError: unless each is given once.

    Examples:
        >>> take_addresses(["source=udp://:5000", "sink=page", "preset=speed"])
        ('udp://:5000', 'page', ['preset=speed'])
    """
    taken: dict[str, list[str]] = {"source": [], "sink": []}
    rest = []
    for word in words:
        name, equals, value = word.partition("=")
        if equals and name in taken:
            taken[name].append(value)
        else:
            rest.append(word)
    for name, values in taken.items():
        if len(values) != 1 or not values[0]:
            raise ConfigError(f"{name}: given {len(values)} times, expected {name}=ADDRESS once; see likeness --help")
    return taken["source"][0], taken["sink"][0], rest


def run_live(source: str, sink: str, config: RestorerConfig) -> int:
    """Restores until the source ends or Ctrl-C; prints the statistics of every second to standard error.

    Returns:
        The exit code, 0.
    """
    if Path(source).is_file():
        refuse_overwrite(source, sink)
    live = LiveRestorer(Restorer(config), source, sink, lambda second: print(second, file=sys.stderr))
    print(f"in all: {live.run()}", file=sys.stderr)
    return 0
