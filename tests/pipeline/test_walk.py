"""A frame's walk, from the moment it was read until its pixels are handed to the writer, returns to few files.

The walk is the order in which files of `src/likeness` are entered, as a profiler sees it. A file is entered by a call
of one of its functions, and left when none of them runs any more; a function that waits for another has not left. A
*return* is the entry of a file that was left, after another file was entered. At most five are allowed.

Not counted: `steps.py`, the page itself; `ops/`, which only computes; `nets/`, the layers inside a stage; files that
state types, options or contracts (`types.py`, `registry.py`, `errors.py`, `compat.py`, `config.py`, `state.py`,
`base.py`) and methods of `...Config` classes. Reading and writing lie before and after the walk. It is followed in
whole jobs with the released networks: a photo, and a clip's first frame, its frames with a detection, and the others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

import likeness
from likeness import Restorer
from likeness.pipeline.state import Models
from likeness.tasks.demo import degraded
from likeness.types import Pixels

ROOT = Path(likeness.__file__).parent
ALLOWED = 5
HELPERS = {"steps.py", "types.py", "registry.py", "errors.py", "compat.py", "config.py", "state.py", "base.py"}
ENTERED, LEFT = True, False
Event = tuple[bool, str, str]  # entered or left, file, function


@contextmanager
def traced() -> Iterator[list[Event]]:
    """The entries and exits of the package's functions in this thread, in order."""
    events: list[Event] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event in ("call", "return") and path.is_relative_to(ROOT):
            file = str(path.relative_to(ROOT))
            events.append((event == "call", file, frame.f_code.co_qualname))

    sys.setprofile(note)
    try:
        yield events
    finally:
        sys.setprofile(None)


def walks(events: list[Event]) -> list[list[Event]]:
    """What lies between each frame's first step and the writer."""
    found, start = [], None
    for i, (entered, file, function) in enumerate(events):
        if entered and function == "restore_frame":
            start = i
        elif entered and file == "pipeline/writers.py" and function.endswith(".write") and start is not None:
            found.append(events[start:i])
            start = None
    return found


def counts(file: str, function: str) -> bool:
    folder, name = file.partition("/")[0], Path(file).name
    return folder not in ("ops", "nets") and name not in HELPERS and "Config." not in function


def returns(walk: list[Event]) -> list[str]:
    """The files that were entered anew, once for each time."""
    running: list[str] = []  # the stack of calls; "" for those that do not count
    left: set[str] = set()
    found, last = [], ""
    for kind, file, function in walk:
        if kind is ENTERED:
            counted = file if counts(file, function) else ""
            if counted and counted not in running:
                if counted in left and counted != last:
                    found.append(counted)
                last = counted
            running.append(counted)
        elif running and (counted := running.pop()) not in running:
            left.add(counted)
    return found


A, B, C = "pipeline/a.py", "stages/b.py", "stages/c.py"


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        pytest.param([(A, "f"), (B, "f"), (C, "f")], [], id="straight on"),
        pytest.param([(A, "f"), (A, "g"), (B, "f")], [], id="two functions of a file"),
        pytest.param([(A, "f"), (B, "f"), (A, "g")], [A], id="back"),
        pytest.param([(A, "f"), (B, "f"), (A, "g"), (B, "f"), (A, "f")], [A, B, A], id="forth and back"),
        pytest.param([(A, "f"), ("ops/warp.py", "f"), ("nets/x.py", "f"), (A, "g")], [], id="helpers between"),
        pytest.param([(A, "f"), (B, "f"), (A, "RouteConfig.bound")], [], id="an option"),
    ],
)
def test_returns_are_entries_of_files_already_left(entries: list[tuple[str, str]], expected: list[str]) -> None:
    assert returns([(kind, *entry) for entry in entries for kind in (ENTERED, LEFT)]) == expected


def test_a_file_that_waits_for_another_was_not_left() -> None:
    nested = [(ENTERED, A, "f"), (ENTERED, B, "f"), (ENTERED, A, "g"), (LEFT, A, "g"), (LEFT, B, "f"), (LEFT, A, "f")]
    assert returns(nested) == []


@pytest.fixture
def restorer(released: Models) -> Restorer:
    made = Restorer(**{"video.detect_every": 3})
    made._models = released
    return made


def poor() -> Pixels:
    """A head, (240, 240, 3), poor enough for an expert and for the background's network."""
    return degraded(astronaut(), 0)[:240, 104:344]


def test_a_photo_returns_to_at_most_five_files(restorer: Restorer, tmp_path: Path) -> None:
    Image.fromarray(poor()).save(tmp_path / "photo.png")
    with traced() as events:
        result = restorer.file(tmp_path / "photo.png", tmp_path / "out")
    assert result.report["totals"]["restored"] == 1
    (walk,) = walks(events)
    found = returns(walk)
    assert len(found) <= ALLOWED, found


def test_a_frame_of_a_clip_returns_to_at_most_five_files(
    restorer: Restorer, make_clip: Callable[..., Path], tmp_path: Path
) -> None:
    pictures = [np.ascontiguousarray(poor()[i : 232 + i, i : 232 + i]) for i in range(5)]
    clip = make_clip("clip.mp4", pictures, seconds=0.2)
    with traced() as events:
        result = restorer.file(clip, tmp_path / "out")
    assert result.report["totals"]["restored"] == 1
    frames = [returns(walk) for walk in walks(events)]
    assert len(frames) == 5
    assert max(map(len, frames)) <= ALLOWED, frames
