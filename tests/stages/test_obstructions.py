"""What is protected, what is removed, and what is said about it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from likeness.nets.obstructions import CLASSES, ObstructionNet
from likeness.stages.obstructions import fractions, mark, marked, protection, remarks
from likeness.types import FloatArray, Obstructions


def found(kind: str, rows: slice, columns: slice, probability: float = 1.0) -> Obstructions:
    """A face under one rectangle."""
    p = np.zeros((len(CLASSES), 128, 128), np.float32)
    p[0] = 1
    p[CLASSES.index(kind), rows, columns] = probability
    p[0, rows, columns] = 1 - probability
    return Obstructions(p, fractions(p))


@pytest.mark.parametrize("kind", ["mask", "object", "text"])
@pytest.mark.parametrize("size", [128, 512])
def test_protection_is_whole_inside_and_none_outside(kind: str, size: int) -> None:
    kept = protection(found(kind, slice(64, 104), slice(40, 90)), size)
    k = size // 128
    assert kept.shape == (size, size)
    assert kept[70 * k : 98 * k, 46 * k : 84 * k].min() == 1
    margin = 8 * k  # letters are closed to an area that is larger by three pixels
    outside = np.ones_like(kept, bool)
    outside[64 * k - margin : 104 * k + margin, 40 * k - margin : 90 * k + margin] = False
    assert kept[outside].max() == 0


@pytest.mark.parametrize("case", [
    found("glasses", slice(40, 60), slice(30, 100)),
    found("hair", slice(20, 80), slice(30, 50)),
    found("damage", slice(20, 80), slice(30, 50)),
    found("mask", slice(64, 70), slice(40, 46)),
    found("mask", slice(64, 104), slice(40, 90), probability=0.45),
], ids=["glasses", "hair", "damage", "a small patch", "a doubtful one"])  # fmt: skip
def test_the_rest_is_not_protected(case: Obstructions) -> None:
    assert protection(case, 256).max() == 0


def test_an_obstruction_goes_on_beyond_the_crop() -> None:
    kept = protection(found("mask", slice(100, 128), slice(0, 128)), 128)
    assert kept[-1].min() == 1


def test_letters_are_protected_as_one_area() -> None:
    p = np.zeros((len(CLASSES), 128, 128), np.float32)
    p[0] = 1
    for x in range(40, 80, 5):  # strokes of two pixels
        p[CLASSES.index("text"), 60:72, x : x + 2] = 1
        p[0, 60:72, x : x + 2] = 0
    kept = protection(Obstructions(p, fractions(p)), 128)
    assert kept[62:70, 42:76].min() == 1


def test_marked_pixels_have_a_margin() -> None:
    area = marked(found("glasses", slice(40, 60), slice(30, 100)), ["glasses"], 256)
    assert area.dtype == bool
    assert area[2 * 39 : 2 * 61, 2 * 29 : 2 * 101].all()
    assert not area[: 2 * 36].any()
    assert not marked(found("mask", slice(40, 60), slice(30, 100)), ["glasses"], 256).any()


def test_fractions_count_the_face_alone() -> None:
    everywhere = found("mask", slice(None), slice(None))
    assert everywhere.fractions["mask"] == 1
    assert found("mask", slice(None), slice(None), probability=0.45).fractions["mask"] == 0
    assert found("mask", slice(None), slice(None), probability=0.55).fractions["mask"] == 1
    corner = found("object", slice(0, 16), slice(0, 16))
    assert corner.fractions["object"] == 0


@pytest.mark.parametrize(("shares", "protects", "expected"), [
    ({"mask": 0.4, "hair": 0.06}, True, ["a mask over 40% of the face: its pixels stay", "hair over 6% of the face"]),
    ({"object": 0.1}, False, ["a hand or an object over 10% of the face"]),
    ({"text": 0.019}, True, []),
], ids=["protected", "not protected", "too little"])  # fmt: skip
def test_remarks(shares: dict[str, float], protects: bool, expected: list[str]) -> None:
    assert remarks(shares, protects) == expected


def test_a_clip_takes_the_mean_with_what_was_found_before() -> None:
    torch.manual_seed(0)
    net = ObstructionNet().eval()
    crop: FloatArray = np.random.default_rng(0).random((256, 256, 3)).astype(np.float32)
    alone = mark(net, crop)
    before = found("mask", slice(64, 104), slice(40, 90))
    together = mark(net, crop, before)
    np.testing.assert_allclose(together.probabilities, (alone.probabilities + before.probabilities) / 2, atol=1e-6)
    np.testing.assert_allclose(alone.probabilities.sum(0), 1, atol=1e-5)
