"""Registries: names are unique, unknown names raise, and the example adds an expert."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from skimage.data import astronaut

from likeness import Restorer
from likeness.errors import ConfigError
from likeness.pipeline.state import GuardedFace
from likeness.registry import Entry, Registry
from likeness.stages.restore.registry import EXPERTS


def registry() -> Registry[int, int]:
    numbers: Registry[int, int] = Registry("number.name")
    numbers.add(Entry("double", "a number", "a number", "nothing", lambda x: 2 * x))
    return numbers


def test_added_entry_is_found_and_loads() -> None:
    assert registry().names == ("double",)
    assert registry()["double"].load(3) == 6
    assert registry()["double"].files(3) == {}


def test_duplicate_name_raises() -> None:
    numbers = registry()
    with pytest.raises(ConfigError, match=r"number\.name: 'double' is taken"):
        numbers.add(numbers["double"])


def test_unknown_name_raises_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"number\.name: got 'triple', expected double"):
        registry()["triple"]


def test_example_expert_restores_a_photo() -> None:
    runpy.run_path(str(Path(__file__).parents[1] / "examples" / "own_expert.py"))
    try:
        result = Restorer(**{"expert.name": "unsharp", "upscale": 1}).image(np.asarray(astronaut())[:256, 64:320])
    finally:
        EXPERTS._entries.pop("unsharp")
    (face,) = result.faces
    assert isinstance(face, GuardedFace)
    assert face.decision.expert == "unsharp"
    assert face.final is not None
