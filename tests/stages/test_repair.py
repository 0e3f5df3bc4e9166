"""Repair: inpainters against surfaces that they must reproduce, joining, tiles, masks of the user."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from likeness.errors import ConfigError, InputError
from likeness.nets.obstructions import CLASSES
from likeness.stages.repair.base import RepairConfig
from likeness.stages.repair.damage import find_damage, read_mask
from likeness.stages.repair.inpainters import INPAINTERS, biharmonic, join
from likeness.types import Pixels


def ramp(height: int = 120, width: int = 260) -> Pixels:
    """A plane in every channel, which a biharmonic surface reproduces."""
    y, x = np.mgrid[:height, :width]
    return np.stack([40 + 0.5 * x, 200 - 0.5 * x + 0.2 * y, 60 + 0.6 * y + 0.1 * x], 2).round().astype(np.uint8)


HOLES = {
    "a scratch": (slice(60, 62), slice(5, 255)),
    "at the border": (slice(0, 120), slice(100, 103)),
    "a patch": (slice(30, 60), slice(40, 80)),
    "all of it": (slice(None), slice(None)),
    "nothing": (slice(0, 0), slice(0, 0)),
}


def hole(name: str, shape: tuple[int, int] = (120, 260)) -> np.ndarray:
    unknown = np.zeros(shape, bool)
    unknown[HOLES[name]] = True
    return unknown


@pytest.mark.parametrize("name", ["a scratch", "at the border", "a patch"])
def test_biharmonic_reproduces_a_plane(name: str) -> None:
    truth, unknown = ramp(), hole(name)
    broken = truth.copy()
    broken[unknown] = 255
    assert np.abs(biharmonic(broken, unknown).astype(int) - truth).max() <= 3


@pytest.mark.parametrize("inpainter", INPAINTERS.names)
@pytest.mark.parametrize("name", ["a scratch", "a patch", "nothing"])
def test_known_pixels_stay_and_inputs_are_unchanged(inpainter: str, name: str) -> None:
    if inpainter == "patchmatch":
        pytest.importorskip("patchmatch", reason="the extra patchmatch is not installed")
    truth, unknown = ramp(), hole(name)
    broken = truth.copy()
    broken[unknown] = 0
    before = broken.copy(), unknown.copy()
    filled = INPAINTERS[inpainter].load(None)(broken, unknown)
    np.testing.assert_array_equal(broken, before[0])
    np.testing.assert_array_equal(unknown, before[1])
    np.testing.assert_array_equal(filled[~unknown], broken[~unknown])
    assert not unknown.any() or (filled[unknown] > 0).mean() > 0.9


def test_a_picture_without_known_pixels_stays() -> None:
    np.testing.assert_array_equal(biharmonic(ramp(), hole("all of it")), ramp())


def test_joining_takes_the_filling_inside_and_nothing_beyond_its_reach() -> None:
    picture, unknown = ramp(), hole("a patch")
    filled = np.full_like(picture, 128)
    joined = join(picture, filled, unknown)
    np.testing.assert_array_equal(joined[unknown], filled[unknown])
    far = np.ones_like(unknown)
    far[26:64, 36:84] = False
    np.testing.assert_array_equal(joined[far], picture[far])


@pytest.mark.parametrize("shape", [(60, 90), (128, 128), (300, 500), (900, 1600)], ids=str)
def test_tiles_find_what_a_perfect_classifier_sees(shape: tuple[int, int]) -> None:
    picture = np.full((*shape, 3), 90, np.uint8)
    y, x = shape[0] // 3, shape[1] // 4
    picture[y : y + 12, x : x + 40] = 255

    def classify(tiles):
        p = np.zeros((len(tiles), len(CLASSES), 128, 128), np.float32)
        p[:, CLASSES.index("damage")] = np.stack(tiles).mean(3) > 0.7
        return p

    found = find_damage(picture, ["damage"], classify)
    assert found.shape == shape
    assert found[y : y + 12, x : x + 40].all()
    margin = 4
    found[y - margin : y + 12 + margin, x - margin : x + 40 + margin] = False
    assert not found.any()
    assert not find_damage(picture, ["text"], classify).any()


def test_a_mask_of_the_user_is_read(tmp_path: Path) -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[3:5, 7:9] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png", 20, 30), mask > 0)
    with pytest.raises(InputError, match="30x20 pixels and the photo 40x20"):
        read_mask(tmp_path / "mask.png", 20, 40)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="cannot be read"):
        read_mask(tmp_path / "broken.png", 20, 30)


@pytest.mark.parametrize(("name", "picture", "face", "file"), [
    ("none", (), (), None),
    ("scratches", ("damage",), (), None),
    ("all", ("damage", "text"), (), None),
    ("glasses", (), ("glasses",), None),
    ("mask", (), ("mask",), None),
    ("my mask.PNG", (), (), Path("my mask.PNG")),
])  # fmt: skip
def test_what_is_filled(name: str, picture: tuple[str, ...], face: tuple[str, ...], file: Path | None) -> None:
    config = RepairConfig(name)
    assert (config.in_picture, config.on_face, config.file) == (picture, face, file)
    assert config.wanted == (name != "none")


def test_other_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected none, scratches, all, glasses, mask, or a mask"):
        RepairConfig("holes")
