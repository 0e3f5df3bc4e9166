"""The pattern of blocks: every kind of upload shows its number, and another number is noticed."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from experiments.load.server_load import KINDS, ServerLoadOptions, draw, make_file, numbers_in, read_number
from likeness.errors import ConfigError, InputError


def test_a_number_is_read_at_any_size() -> None:
    for number in (1, 2, 0b010101010101, 0b101010101010, 4095):
        picture = draw(number, 0)
        larger = Image.fromarray(picture).resize((333, 217), Image.Resampling.LANCZOS)
        assert read_number(picture) == read_number(np.asarray(larger)) == number


@pytest.mark.parametrize("number", range(1000, 1000 + len(KINDS)))
def test_files_show_their_number(number: int) -> None:
    name, content = make_file(number, 0)
    assert name.startswith(str(number))
    if KINDS[number % len(KINDS)] == "broken":
        with pytest.raises(InputError, match="damaged or incomplete"):
            numbers_in(name, content)
    else:
        assert numbers_in(name, content) == {number}


def test_frames_of_another_number_and_missing_ones_are_noticed() -> None:
    name, content = make_file(1002, 0)
    assert name.endswith(".gif")
    assert numbers_in(name, make_file(1007, 0)[1]) == {1007}
    assert numbers_in(name.replace(".gif", ".mp4"), content) == set()  # four frames, six expected


@pytest.mark.parametrize("wrong", [{"parts": ["idle"]}, {"jobs": 4096}, {"jobs": 0}])
def test_wrong_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="expected some of busy, kills, disk"):
        ServerLoadOptions(**wrong)  # type: ignore[arg-type]
