"""The help text covers every option once, with a description."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from likeness.pipeline.config import RestorerConfig
from likeness.pipeline.options import ADVANCED, option_help, options


def leaves(tree: dict[str, Any], prefix: str = "") -> set[str]:
    keys: set[str] = set()
    for name, value in tree.items():
        keys |= leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name}
    return keys


def test_every_option_is_listed_once_with_a_description() -> None:
    listed = list(options())
    assert {o.key for o in listed} == leaves(asdict(RestorerConfig()))
    assert len({o.key for o in listed}) == len(listed)
    assert [o.key for o in listed if not o.text] == []


def test_short_help_has_at_most_45_options() -> None:
    assert leaves(asdict(RestorerConfig())) >= ADVANCED
    short = [o for o in options() if o.key not in ADVANCED]
    assert len(short) <= 45
    text = option_help()
    assert all(f"  {o.key}=" in text for o in short)
    assert not any(f"  {key}=" in text for key in ADVANCED)
    assert max(len(line) for line in option_help(everything=True).splitlines()) <= 120
