"""Training and validation pairs."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Sequence

import cv2
import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from PIL import Image
from scipy.ndimage import gaussian_filter

from likeness.data.drawn import draw_face
from likeness.data.faces import FaceRecord, resize_face
from likeness.data.recipes import Drawn, draw
from likeness.data.restoration import (
    ArraySource,
    DrawnSource,
    FixedPairs,
    MixConfig,
    SampleNumbers,
    TrainingPairs,
    draw_jitter,
    jitter,
    pair,
    relight,
    soften,
)
from likeness.errors import ConfigError

ALL = np.ones((256, 256), np.bool_)


SHARP = FaceRecord("a.png", "s", "real", "", 512, 600.0, "train")


class Flat:
    """Faces of one grey level each, so that a sample shows whose it is; tiny, for counting many."""

    def __init__(self, levels: Sequence[int], sharps: Sequence[bool] | None = None) -> None:
        self.levels, self.sharps = levels, sharps or [True] * len(levels)

    def __len__(self) -> int:
        return len(self.levels)

    def face(self, index: int) -> np.ndarray:
        return np.full((2, 2, 3), self.levels[index], np.uint8)

    def sharp(self, index: int) -> bool:
        return self.sharps[index]

    def valid(self, index: int) -> np.ndarray:
        return np.ones((256, 256), np.bool_)


def same(a: dict, b: dict) -> bool:
    return (
        torch.equal(a["truth"], b["truth"])
        and torch.equal(a["input"], b["input"])
        and bool(a["sharp"] == b["sharp"])
        and torch.equal(a["valid"], b["valid"])
        and torch.equal(a["unknown"], b["unknown"])
        and a["drawn"] == b["drawn"]
    )


def test_sample_n_is_the_same_in_any_order() -> None:
    def make() -> TrainingPairs:
        return TrainingPairs(DrawnSource(3), MixConfig(), None, 5, 8)

    first = make()
    forward = [first[i] for i in (0, 1, 2)]
    second = make()
    backward = [second[i] for i in (2, 1, 0)][::-1]
    assert all(same(a, b) for a, b in zip(forward, backward, strict=True))
    assert not same(forward[0], forward[1])
    other_seed = TrainingPairs(DrawnSource(3), MixConfig(), None, 6, 8)
    assert not same(forward[0], other_seed[0])


def test_sample_has_the_stated_shapes_and_fits_together() -> None:
    sample = TrainingPairs(DrawnSource(1), MixConfig(), None, 0, 8)[11]
    assert sample["truth"].shape == (512, 512, 3)
    assert sample["input"].shape == (256, 256, 3)
    assert sample["truth"].dtype == sample["input"].dtype == torch.uint8
    small = torch.nn.functional.avg_pool2d(sample["truth"].permute(2, 0, 1).float(), 2).permute(1, 2, 0)
    assert (small - sample["input"].float()).abs().mean() < 40


def counted(mix: MixConfig, number: int, monkeypatch: pytest.MonkeyPatch, **source: object) -> list[dict]:
    """What `number` samples were drawn to be, without the work of making them."""
    module = "likeness.data.restoration"
    moved: list[bool] = []
    dimmed: list[bool] = []
    monkeypatch.setattr(f"{module}.jitter", lambda image, move: moved.append(True) or image)
    monkeypatch.setattr(f"{module}.soften", lambda image, factor, rng: image)
    monkeypatch.setattr(f"{module}.resize_face", lambda image, size: image)
    monkeypatch.setattr(f"{module}.apply", lambda image, drawn, rng: image)
    monkeypatch.setattr(f"{module}.relight", lambda image, rng: dimmed.append(True) or image)
    monkeypatch.setattr(f"{module}.fill_smoothly", lambda image, unknown: image)
    faces = Flat([10, 20, 30, 40], **source)  # type: ignore[arg-type]
    pairs = TrainingPairs(faces, mix, [1, 1, 2, 0], 3, number)
    samples = [pairs[i] for i in range(number)]
    for sample in samples:
        sample["level"] = int(sample["truth"][0, 0, 0])
    samples[0] |= {"moved": len(moved), "dimmed": len(dimmed)}
    return samples


def test_shares_are_those_of_the_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    mix, number = MixConfig(), 1500
    samples = counted(mix, number, monkeypatch)
    found = Counter(s["drawn"]["recipe"] for s in samples)
    for name, share in mix.recipes.items():
        assert found[name] / number == pytest.approx(share, abs=0.04), name
    stills = [s for s in samples if s["drawn"]["recipe"] != "film"]
    assert np.mean([bool(s["drawn"]["codec"]) for s in stills]) == pytest.approx(mix.codec, abs=0.03)
    assert np.mean([not s["sharp"] for s in samples]) == pytest.approx(mix.soft, abs=0.03)
    assert samples[0]["moved"] / number == pytest.approx(mix.jitter, abs=0.04)
    assert samples[0]["dimmed"] / number == pytest.approx(mix.light, abs=0.04)
    assert np.mean([bool(s["unknown"].any()) for s in samples]) == pytest.approx(mix.unknown, abs=0.03)
    heavy = [s["drawn"]["shrink_2"] > 0 for s in samples if s["drawn"]["recipe"] == "heavy"]
    assert np.mean(heavy) == pytest.approx(mix.second, abs=0.08)
    assert not any(s["drawn"]["shrink_2"] for s in samples if s["drawn"]["recipe"] != "heavy")


def test_faces_are_drawn_by_their_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = Counter(s["level"] for s in counted(MixConfig(), 1500, monkeypatch))
    assert levels[10] / 1500 == pytest.approx(0.25, abs=0.04)
    assert levels[30] / 1500 == pytest.approx(0.5, abs=0.05)
    assert levels[40] == 0


def test_a_soft_truth_is_never_called_sharp(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = counted(MixConfig(soft=0), 200, monkeypatch, sharps=[True, False, False, True])
    assert {s["level"]: bool(s["sharp"]) for s in samples} == {10: True, 20: False, 30: False}
    monkeypatch.undo()
    assert not any(s["sharp"] for s in counted(MixConfig(soft=1), 50, monkeypatch))


def test_softened_samples_are_softer() -> None:
    source = DrawnSource(1)
    plain = TrainingPairs(source, MixConfig(jitter=0, soft=0), None, 1, 4)[0]
    soft = TrainingPairs(source, MixConfig(jitter=0, soft=1), None, 1, 4)[0]
    detail = [cv2.Laplacian(s["truth"].numpy(), cv2.CV_64F).var() for s in (plain, soft)]
    assert detail[1] < 0.8 * detail[0]
    assert (bool(plain["sharp"]), bool(soft["sharp"])) == (True, False)


class Fixed:
    """Stands in for a generator: the share of the lens, the chance of a JPEG, the kind of enlargement, the quality."""

    def __init__(self, lens: float, chance: float, kind: int = 1, quality: int = 80) -> None:
        self.lens, self.chance, self.integer = lens, chance, [quality, kind] if chance < 0.4 else [kind]

    def uniform(self, low: float, high: float) -> float:
        assert low <= self.lens <= high
        return self.lens

    def random(self) -> float:
        return self.chance

    def integers(self, *bounds: int) -> int:
        return self.integer.pop(0)


def softened(factor: float, *draws: float) -> np.ndarray:
    face = draw_face(512, 1)
    before = face.copy()
    found = soften(face, factor, Fixed(*draws))  # type: ignore[arg-type]
    assert_array_equal(face, before)
    return found


@pytest.mark.parametrize(("kind", "how"), enumerate((cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)))
def test_an_enlarged_file_is_shrunk_and_enlarged(kind: int, how: int) -> None:
    small = cv2.resize(draw_face(512, 1), (256, 256), interpolation=cv2.INTER_AREA)
    assert_array_equal(softened(2, -0.3, 0.9, kind), cv2.resize(small, (512, 512), interpolation=how))


def test_a_lens_is_a_gaussian() -> None:
    sigma = math.sqrt(3**2 - 1) / 2
    expected = gaussian_filter(draw_face(512, 1).astype(float), (sigma, sigma, 0), mode="mirror", truncate=3)
    assert np.abs(softened(3, 1.2, 0.9) - expected).max() < 3


def test_both_share_the_factor() -> None:
    """Of 4, half by the lens: a factor of 2 each."""
    face = cv2.GaussianBlur(draw_face(512, 1), (0, 0), math.sqrt(3) / 2, borderType=cv2.BORDER_REFLECT_101)
    small = cv2.resize(face, (256, 256), interpolation=cv2.INTER_AREA)
    assert_array_equal(softened(4, 0.5, 0.9), cv2.resize(small, (512, 512), interpolation=cv2.INTER_CUBIC))


def test_some_were_jpegs() -> None:
    file = io.BytesIO()
    small = cv2.resize(draw_face(512, 1), (256, 256), interpolation=cv2.INTER_AREA)
    Image.fromarray(small).save(file, "JPEG", quality=80)
    expected = cv2.resize(np.asarray(Image.open(file)), (512, 512), interpolation=cv2.INTER_CUBIC)
    assert np.abs(softened(2, -0.3, 0.1).astype(int) - expected).max() <= 6  # two JPEG libraries round apart
    assert np.abs(softened(2, -0.3, 0.9).astype(int) - expected).max() > 6


def test_a_factor_of_one_takes_nothing() -> None:
    for lens in (-0.5, 0.5, 1.5):
        assert_array_equal(softened(1, lens, 0.9), draw_face(512, 1))


def markers(points: np.ndarray) -> np.ndarray:
    """White dots on black."""
    image = np.zeros((512, 512, 3), np.uint8)
    for x, y in points:
        cv2.circle(image, (int(x), int(y)), 6, (255, 255, 255), -1)
    return image


def found_markers(image: np.ndarray) -> np.ndarray:
    """Centres of the dots, from top to bottom."""
    count, _, _, centres = cv2.connectedComponentsWithStats((image[..., 0] > 60).astype(np.uint8))
    return centres[1:count][np.argsort(centres[1:count, 1])]


def test_jitter_moves_by_as_much_as_it_says() -> None:
    """Two dots give scale, rotation and shift of every draw."""
    points = np.array([(255.5, 155.5), (255.5, 355.5)]).round()
    image = markers(points)
    moves = []
    for seed in range(150):
        top, bottom = found_markers(jitter(image, draw_jitter(np.random.default_rng(seed))))
        arrow, middle = bottom - top, (top + bottom) / 2 - points.mean(0)
        moves.append((np.degrees(np.arctan2(arrow[0], arrow[1])), np.hypot(*arrow) / 200, *middle / 512))
    angle, scale, x, y = np.array(moves).T
    for name, values, bound, error in (
        ("angle", angle, 4, 0.2),
        ("scale", scale - 1, 0.04, 0.004),
        ("x", x, 0.02, 0.002),
        ("y", y, 0.02, 0.002),
    ):
        assert np.abs(values).max() <= bound + error, name
        assert values.max() > 0.85 * bound, name
        assert values.min() < -0.85 * bound, name


def test_pair_degrades_the_256_truth() -> None:
    truth = draw_face(512, 2)
    sample = pair(truth, True, Drawn("clean"), np.random.default_rng(0), ALL)
    assert_array_equal(sample["truth"].numpy(), truth)
    assert_array_equal(sample["input"].numpy(), resize_face(truth, 256))


def test_drawn_parameters_travel_with_the_sample() -> None:
    drawn = draw("heavy", np.random.default_rng(7))
    sample = pair(draw_face(512, 2), True, drawn, np.random.default_rng(7), ALL)
    assert Drawn(**sample["drawn"]) == drawn


def test_fixed_pairs_are_every_face_with_every_recipe() -> None:
    pairs = FixedPairs(DrawnSource(2), ["mild", "clean"], 1)
    assert len(pairs) == 4
    samples = [pairs[i] for i in range(4)]
    assert [s["drawn"]["recipe"] for s in samples] == ["mild", "clean"] * 2
    assert_array_equal(samples[2]["truth"].numpy(), DrawnSource(2).face(1))
    assert same(pairs[2], samples[2])
    # The recipes of one face do not share their random numbers with those of another.
    assert samples[0]["drawn"] != samples[2]["drawn"]


def test_numbers_never_repeat_over_epochs() -> None:
    numbers = SampleNumbers(5)
    seen = []
    for epoch in range(3):
        numbers.set_epoch(epoch)
        assert len(numbers) == 5
        seen += list(numbers)
    assert seen == list(range(15))


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_share_the_numbers_out(world: int) -> None:
    parts = [SampleNumbers(12, rank, world) for rank in range(world)]
    seen: list[int] = []
    for epoch in range(2):
        for part in parts:
            part.set_epoch(epoch)
            assert len(list(part)) == len(part) == 12 // world
            seen += list(part)
    assert sorted(seen) == list(range(24))


def test_skipping_holds_for_its_epoch_only() -> None:
    numbers = SampleNumbers(6)
    numbers.skip(1, 4)
    numbers.set_epoch(1)
    assert list(numbers) == [10, 11]
    assert len(numbers) == 6  # the epoch's length is what Lightning counts by
    numbers.set_epoch(2)
    assert list(numbers) == list(range(12, 18))


BAD_MIXES = {
    "shares": ({"recipes": {"mild": 0.5}}, "sum to 0.500"),
    "recipe": ({"recipes": {"milt": 1.0}}, "got 'milt'"),
    "codec": ({"codec": 1.2}, "data.mix.codec: got 1.2"),
    "jitter": ({"jitter": -0.1}, "data.mix.jitter: got -0.1"),
}


@pytest.mark.parametrize("name", BAD_MIXES)
def test_bad_mix_is_refused(name: str) -> None:
    options, message = BAD_MIXES[name]
    with pytest.raises(ConfigError, match=message):
        MixConfig(**options)  # type: ignore[arg-type]


def test_source_is_not_written_to() -> None:
    pixels = np.stack([draw_face(512, 1)])
    pixels.setflags(write=False)  # any write would raise
    pairs = TrainingPairs(
        ArraySource(pixels, [SHARP]),
        MixConfig(jitter=1, soft=0.5),
        None,
        0,
        6,
    )
    for i in range(6):
        pairs[i]["truth"].add_(1)
    assert_array_equal(pixels[0], draw_face(512, 1))


def test_a_mirrored_border_is_marked_and_moves_with_the_face() -> None:
    """The valid part of a crop is white, the rest black: what is marked valid must be white in the truth, too."""
    face = np.zeros((512, 512, 3), np.uint8)
    face[64:448, 100:512] = 255
    record = FaceRecord("a.png", "s", "real", "", 512, 600.0, "train", (100, 64, 512, 448))
    pairs = TrainingPairs(ArraySource(face[None], [record]), MixConfig(jitter=0.8, light=0), None, 3, 30)
    shares = []
    for i in range(30):
        sample = pairs[i]
        white = resize_face(sample["truth"].numpy(), 256)[..., 0] > 127
        valid = sample["valid"].numpy()
        # Softening moves an edge by a pixel or two; a jitter mirrors white in at the border, which is not valid.
        assert np.mean(valid & ~white) < 0.01
        shares.append(valid.mean())
    exact = (384 / 512) * (412 / 512)
    assert min(shares) > 0.9 * exact
    assert max(shares) <= 1.09 * exact


def test_a_crop_without_a_box_is_valid_but_for_what_a_jitter_mirrors_in() -> None:
    pairs = TrainingPairs(DrawnSource(1), MixConfig(jitter=0), None, 0, 8)
    assert pairs[0]["valid"].all()
    moved = TrainingPairs(DrawnSource(1), MixConfig(jitter=1), None, 0, 8)
    assert all(0.85 < float(moved[i]["valid"].float().mean()) < 1 for i in range(4))


def test_unknown_pixels_do_not_show_and_the_others_stay() -> None:
    truth = draw_face(512, 2)
    unknown = np.zeros((256, 256), np.bool_)
    unknown[100:150, 60:190] = True
    drawn = draw("mild", np.random.default_rng(0))
    shown, hidden = (pair(truth, True, drawn, np.random.default_rng(1), ALL, u) for u in (None, unknown))
    assert not shown["unknown"].any()
    assert_array_equal(hidden["unknown"].numpy(), unknown)
    assert_array_equal(hidden["input"].numpy()[~unknown], shown["input"].numpy()[~unknown])
    apart = np.abs(hidden["input"].numpy()[unknown].astype(int) - shown["input"].numpy()[unknown])
    assert apart.mean() > 5


def test_relight_is_one_gain_for_each_channel() -> None:
    image = np.full((4, 4, 3), 100, np.uint8)
    for seed in range(20):
        out = relight(image, np.random.default_rng(seed)).astype(float)
        assert (out == out[0, 0]).all()
        assert 30 < out.min() <= out.max() < 135
        assert out[0, 0].max() / out[0, 0].min() < 1.3
