"""The error family, the frozen data between stages, and the rank-aware logger."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from likeness import errors
from likeness.errors import InputError, LikenessError, UnexpectedError, last_net
from likeness.log import get_logger
from likeness.types import Faces, Frame, check_pixels

KINDS = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, LikenessError)]


def test_every_error_is_of_the_family_and_has_its_own_exit_code() -> None:
    codes = [kind.exit_code for kind in KINDS]
    assert len(KINDS) >= 6
    assert len(set(codes)) == len(codes)
    assert 0 not in codes


BAD_PIXELS = {
    "grey": np.zeros((4, 4), np.uint8),
    "with alpha": np.zeros((4, 4, 4), np.uint8),
    "empty": np.zeros((0, 4, 3), np.uint8),
    "float": np.zeros((4, 4, 3), np.float32),
    "no array": [[0]],
}


@pytest.mark.parametrize("name", BAD_PIXELS)
def test_bad_pixels_are_named(name: str) -> None:
    with pytest.raises(InputError, match=r"the photo: got .*, expected"):
        check_pixels(BAD_PIXELS[name], "the photo")  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_good_pixels_pass(dtype: type) -> None:
    assert Frame(np.zeros((2, 3, 3), dtype)).pixels.dtype == dtype


def test_frame_checks_its_pixels() -> None:
    with pytest.raises(InputError, match="frame 7"):
        Frame(np.zeros((2, 2), np.uint8), index=7)


def test_faces_select_keeps_what_belongs_together() -> None:
    n = 3
    boxes = np.arange(4 * n, dtype=np.float32).reshape(n, 4)
    points = np.arange(10 * n, dtype=np.float32).reshape(n, 5, 2)
    faces = Faces(boxes, np.array([0.1, 0.2, 0.3], np.float32), points)
    turned = faces.select([2, 0])
    assert turned.scores.tolist() == pytest.approx([0.3, 0.1])
    np.testing.assert_array_equal(turned.boxes[1], boxes[0])
    np.testing.assert_array_equal(turned.landmarks[0], points[2])
    masked = faces.select(np.array([False, True, False]))
    assert masked.scores.tolist() == pytest.approx([0.2])
    assert [float(f.scores[0]) for f in faces] == pytest.approx([0.1, 0.2, 0.3])
    assert len(Faces.empty()) == 0


def test_faces_of_unequal_number_are_refused() -> None:
    with pytest.raises(InputError, match="landmarks"):
        Faces(np.zeros((2, 4), np.float32), np.zeros(2, np.float32), np.zeros((1, 5, 2), np.float32))


RANKS = {
    "one process": ({}, True),
    "first of torchrun": ({"RANK": "0"}, True),
    "second of torchrun": ({"RANK": "1"}, False),
    "second of slurm": ({"SLURM_PROCID": "1"}, False),
}


@pytest.mark.parametrize("name", RANKS)
def test_only_the_first_process_speaks(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    environment, speaks = RANKS[name]
    for key in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        monkeypatch.delenv(key, raising=False)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    logger = get_logger("likeness.test")
    get_logger("likeness.test")  # asking twice adds no second filter
    assert len(logger.filters) == 1
    with caplog.at_level(logging.INFO, "likeness.test"):
        logger.info("progress")
        logger.warning("trouble")
    assert caplog.messages == (["progress", "trouble"] if speaks else ["trouble"])


def test_the_last_net_lets_our_errors_and_interruptions_pass():
    for kind in (InputError, KeyboardInterrupt, SystemExit):
        with pytest.raises(kind, match=r"^as it was$"), last_net("a.png"):
            raise kind("as it was")


@pytest.mark.parametrize("error", [ValueError("two\n  lines"), MemoryError(), RecursionError("x"), StopIteration()])
def test_the_last_net_turns_all_else_into_one_line(error):
    with pytest.raises(UnexpectedError) as caught, last_net("a.png"):
        raise error
    line = str(caught.value)
    assert line.startswith(f"a.png: unexpected {type(error).__name__} ({' '.join(str(error).split())}) in ")
    assert "test_errors.py:" in line
    assert "\n" not in line
    assert caught.value.__cause__ is error
