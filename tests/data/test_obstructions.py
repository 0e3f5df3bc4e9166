"""Drawn obstructions: where they lie, what they leave alone, and that a seed gives the same ones."""

from __future__ import annotations

import numpy as np
import pytest

from likeness.data.obstructions.damage import damage, text
from likeness.data.obstructions.held import hand, thing
from likeness.data.obstructions.layers import fill, label, paint, smooth_outline, visible
from likeness.data.obstructions.samples import ObstructionSamples, obstruct
from likeness.data.obstructions.worn import glasses, hair, mask
from likeness.data.sources import CartoonSource
from likeness.data.synthetic_faces import draw_face
from likeness.nets.obstructions import CLASSES
from likeness.ops.color import to_float
from likeness.ops.geometry import template
from likeness.types import Pixels

PAINTERS = {
    "glasses": glasses,
    "mask": mask,
    "hair": hair,
    "hand": hand,
    "thing": lambda face, rng: thing(face, face, rng),
    "damage": lambda face, rng: damage(len(face), rng)[0],
    "text": lambda face, rng: text(len(face), rng),
}


@pytest.fixture
def face() -> Pixels:
    drawn = draw_face(256, seed=3)
    drawn.setflags(write=False)
    return drawn


@pytest.mark.parametrize("name", PAINTERS)
@pytest.mark.parametrize("seed", range(4))
def test_layers_are_in_range_and_repeatable(face: Pixels, name: str, seed: int) -> None:
    first, again = (PAINTERS[name](to_float(face), np.random.default_rng(seed)) for _ in range(2))
    for part in ("colour", "alpha", "extent"):
        values = getattr(first, part)
        assert values.dtype == np.float32, part
        assert values.min() >= 0, part
        assert values.max() <= 1, part
        np.testing.assert_array_equal(values, getattr(again, part))
    assert 0 < first.extent.mean() < 0.9


@pytest.mark.parametrize(("name", "landmarks"), [("glasses", (0, 1)), ("mask", (3, 4))])
def test_worn_things_cover_their_landmarks(face: Pixels, name: str, landmarks: tuple[int, ...]) -> None:
    for seed in range(8):
        extent = PAINTERS[name](to_float(face), np.random.default_rng(seed)).extent
        for x, y in np.rint(template(256)[list(landmarks)]).astype(int):
            assert extent[y, x] > 0.5, seed


@pytest.mark.parametrize("kind", CLASSES[1:])
def test_a_picture_changes_only_where_something_was_drawn(face: Pixels, kind: str) -> None:
    before = face.copy()
    done = obstruct(face, [kind], face, "clean", np.random.default_rng(5))
    np.testing.assert_array_equal(face, before)
    reach = np.max([extent for _, extent in done.extents], 0) if kind != "damage" else np.ones((256, 256))
    changed = (np.abs(done.picture.astype(int) - face).max(2) > 12) & (reach == 0)
    assert changed.mean() < 0.02  # soft rims alone reach beyond the extents
    assert (done.picture != face).any()
    assert set(np.unique(done.labels(128))) <= {0, CLASSES.index(kind)}
    assert (done.labels(128) > 0).any()


def test_later_layers_lie_on_top() -> None:
    below, above = np.zeros((2, 8, 8), np.float32)
    below[:, :6], above[:, 4:] = 1, 1
    np.testing.assert_array_equal(label([(2, below), (5, above)], 8)[0], [2, 2, 2, 2, 5, 5, 5, 5])


def test_damage_that_cannot_be_seen_is_not_marked(face: Pixels) -> None:
    picture, extent = to_float(face), np.ones((256, 256), np.float32)
    assert visible(picture, picture + 0.01, extent).max() == 0
    assert visible(picture, picture + 0.2, extent).min() == 1


def test_paint_mixes_by_opacity(face: Pixels) -> None:
    layer = glasses(to_float(face), np.random.default_rng(0))
    expected = to_float(face) + (layer.colour - to_float(face)) * layer.alpha[..., None]
    np.testing.assert_allclose(paint(to_float(face), layer), expected, atol=1e-6)


def test_fill_covers_the_area_of_its_outline() -> None:
    square = np.array([(10.0, 10.0), (30.0, 10.0), (30.0, 30.0), (10.0, 30.0)])
    assert fill(64, square).sum() == pytest.approx(21 * 21, rel=0.1)  # OpenCV fills the rim, too
    ring = 32 + 20 * np.stack([np.cos(t := np.linspace(0, 2 * np.pi, 24, endpoint=False)), np.sin(t)], 1)
    radius = np.linalg.norm(smooth_outline(ring) - 32, axis=1)
    np.testing.assert_allclose(radius, 20, atol=0.5)


def test_samples_depend_on_seed_and_number_alone() -> None:
    source = CartoonSource(4)
    first, again, other = (ObstructionSamples(source, None, seed, 8) for seed in (1, 1, 2))
    for number in (0, 3, 11):
        for key in ("input", "labels", "valid"):
            np.testing.assert_array_equal(first[number][key].numpy(), again[number][key].numpy())
    assert any((first[n]["input"] != other[n]["input"]).any() for n in range(3))
    sample = first[0]
    assert sample["input"].shape == (128, 128, 3)
    assert int(sample["labels"].max()) < len(CLASSES)


def test_faces_without_weight_are_not_drawn() -> None:
    class Counted(CartoonSource):
        def face(self, index: int) -> Pixels:
            assert index == 2
            return super().face(index)

    samples = ObstructionSamples(Counted(4), [0.0, 0.0, 1.0, 0.0], 0, 4)
    assert len({samples[n]["input"].numpy().tobytes() for n in range(4)}) == 4
