"""Cards: the heat map is warmest where confidence is lowest, and everything has its place on the sheet."""

from __future__ import annotations

import numpy as np
import pytest

from likeness.pipeline.cards import Card, draw_cards, heat_map, wanted


def test_the_heat_map_is_warmest_where_confidence_is_lowest() -> None:
    rng = np.random.default_rng(0)
    face = rng.integers(0, 256, (256, 256, 3), np.uint8)
    confidence = np.full((32, 32), 0.9, np.float32)
    confidence[20, 5] = 0.1
    kept = face.copy(), confidence.copy()
    shown = heat_map(face, confidence).astype(int).sum(2)
    blocks = shown.reshape(32, 8, 32, 8).mean((1, 3))
    assert np.unravel_index(blocks.argmax(), blocks.shape) == (20, 5)
    assert blocks[20, 5] > 2 * np.median(blocks)
    np.testing.assert_array_equal(face, kept[0])
    np.testing.assert_array_equal(confidence, kept[1])


def test_a_lower_confidence_is_lighter_everywhere() -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    light = [heat_map(grey, np.full((8, 8), c, np.float32)).mean() for c in (0.9, 0.6, 0.3, 0.0)]
    assert light == sorted(light)
    assert light[-1] > 3 * light[0]


def test_the_pictures_of_a_card_are_side_by_side_in_its_row() -> None:
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    before, after, confidence_map = (np.full((256, 256, 3), c, np.uint8) for c in colours)
    sheet = draw_cards([Card(before, after, ("one",), True), Card(before, after, ("two",), True, confidence_map)])
    for row, shown in ((0, colours[:2]), (1, colours)):
        middle = 8 + row * 264 + 128
        seen = [tuple(int(v) for v in sheet[middle, 8 + 264 * k + 128]) for k in range(3)]
        assert seen[: len(shown)] == shown
        if len(shown) == 2:
            assert seen[2] == (24, 24, 28)


@pytest.mark.parametrize(
    ("known", "restored", "limit", "expected"),
    [
        pytest.param(None, False, 2, True, id="first frame"),
        pytest.param(None, True, 1, False, id="no room"),
        pytest.param(False, True, 1, True, id="restored for the first time"),
        pytest.param(False, False, 2, False, id="left alone again"),
        pytest.param(True, True, 2, False, id="restored again"),
    ],
)
def test_a_card_shows_the_first_frame_in_which_the_face_is_restored(known, restored, limit, expected) -> None:
    picture = np.zeros((256, 256, 3), np.uint8)
    cards = {7: Card(picture, picture, (), False)}
    if known is not None:
        cards[3] = Card(picture, picture, (), known)
    assert wanted(cards, 3, restored, limit) is expected
