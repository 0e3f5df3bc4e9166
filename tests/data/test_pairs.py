"""Training and validation pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import cv2
import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from likeness.data.degradations.recipes import DegradationParams, sample_params
from likeness.data.faces import FaceRecord
from likeness.data.pairs import FixedPairs, MixConfig, TrainingPairs, make_pair
from likeness.data.sources import ArraySource, CartoonSource
from likeness.data.synthetic_faces import draw_face
from likeness.errors import ConfigError
from likeness.ops.resize import resize

ALL = np.ones((256, 256), np.bool_)


SHARP = FaceRecord("a.png", "s", "real", "", 512, 600.0, "train")


class FlatSource:
    """Tiny faces of one grey level each, so that a sample tells its face."""

    def __init__(self, levels: Sequence[int], sharp: Sequence[bool] | None = None) -> None:
        self.levels, self._sharp = levels, sharp or [True] * len(levels)

    def __len__(self) -> int:
        return len(self.levels)

    def face(self, index: int) -> np.ndarray:
        return np.full((2, 2, 3), self.levels[index], np.uint8)

    def sharp(self, index: int) -> bool:
        return self._sharp[index]

    def valid(self, index: int) -> np.ndarray:
        return ALL


def same(a: dict, b: dict) -> bool:
    return (
        torch.equal(a["truth"], b["truth"])
        and torch.equal(a["input"], b["input"])
        and bool(a["sharp"] == b["sharp"])
        and torch.equal(a["valid"], b["valid"])
        and torch.equal(a["unknown"], b["unknown"])
        and a["params"] == b["params"]
    )


def test_a_sample_is_the_same_in_any_order_and_another_for_another_seed() -> None:
    def make() -> TrainingPairs:
        return TrainingPairs(CartoonSource(3), MixConfig(), None, 5, 8)

    first = make()
    forward = [first[i] for i in (0, 1, 2)]
    second = make()
    backward = [second[i] for i in (2, 1, 0)][::-1]
    assert all(same(a, b) for a, b in zip(forward, backward, strict=True))
    assert not same(forward[0], forward[1])
    other_seed = TrainingPairs(CartoonSource(3), MixConfig(), None, 6, 8)
    assert not same(forward[0], other_seed[0])


def test_sample_has_the_documented_shapes_and_input_resembles_truth() -> None:
    sample = TrainingPairs(CartoonSource(1), MixConfig(), None, 0, 8)[11]
    assert sample["truth"].shape == (512, 512, 3)
    assert sample["input"].shape == (256, 256, 3)
    assert sample["truth"].dtype == sample["input"].dtype == torch.uint8
    small = torch.nn.functional.avg_pool2d(sample["truth"].permute(2, 0, 1).float(), 2).permute(1, 2, 0)
    assert (small - sample["input"].float()).abs().mean() < 40


def samples_without_images(mix: MixConfig, count: int, monkeypatch: pytest.MonkeyPatch, **source: object) -> list[dict]:
    """The decisions of `count` samples, without the cost of their images; the first counts jitter and exposure."""
    module = "likeness.data.pairs"
    jittered: list[bool] = []
    exposed: list[bool] = []
    monkeypatch.setattr(f"{module}.jitter_crop", lambda image, jitter: jittered.append(True) or image)
    monkeypatch.setattr(f"{module}.soften", lambda image, factor, rng: image)
    monkeypatch.setattr(f"{module}.resize", lambda image, width, height: image)
    monkeypatch.setattr(f"{module}.apply_degradation", lambda image, params, rng: image)
    monkeypatch.setattr(f"{module}.change_exposure", lambda image, rng: exposed.append(True) or image)
    monkeypatch.setattr(f"{module}.fill_smoothly", lambda image, unknown: image)
    faces = FlatSource([10, 20, 30, 40], **source)  # type: ignore[arg-type]
    pairs = TrainingPairs(faces, mix, [1, 1, 2, 0], 3, count)
    samples = [pairs[i] for i in range(count)]
    for sample in samples:
        sample["level"] = int(sample["truth"][0, 0, 0])
    samples[0] |= {"jittered": len(jittered), "exposed": len(exposed)}
    return samples


def test_frequencies_are_the_probabilities_of_the_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    mix, count = MixConfig(), 1500
    samples = samples_without_images(mix, count, monkeypatch)
    recipes = Counter(s["params"]["recipe"] for s in samples)
    for name, probability in mix.recipes.items():
        assert recipes[name] / count == pytest.approx(probability, abs=0.04), name
    stills = [s for s in samples if s["params"]["recipe"] != "film"]
    assert np.mean([bool(s["params"]["codec"]) for s in stills]) == pytest.approx(mix.codec, abs=0.03)
    assert np.mean([not s["sharp"] for s in samples]) == pytest.approx(mix.soft_truth, abs=0.03)
    assert samples[0]["jittered"] / count == pytest.approx(mix.jitter, abs=0.04)
    assert samples[0]["exposed"] / count == pytest.approx(mix.exposure, abs=0.04)
    assert np.mean([bool(s["unknown"].any()) for s in samples]) == pytest.approx(mix.inpainting, abs=0.03)
    heavy = [s["params"]["shrink_2"] > 0 for s in samples if s["params"]["recipe"] == "heavy"]
    assert np.mean(heavy) == pytest.approx(mix.second_order, abs=0.08)
    assert not any(s["params"]["shrink_2"] for s in samples if s["params"]["recipe"] != "heavy")


def test_faces_are_sampled_by_their_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = Counter(s["level"] for s in samples_without_images(MixConfig(), 1500, monkeypatch))
    assert levels[10] / 1500 == pytest.approx(0.25, abs=0.04)
    assert levels[30] / 1500 == pytest.approx(0.5, abs=0.05)
    assert levels[40] == 0


def test_soft_and_softened_truths_are_not_sharp(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = samples_without_images(MixConfig(soft_truth=0), 200, monkeypatch, sharp=[True, False, False, True])
    assert {s["level"]: bool(s["sharp"]) for s in samples} == {10: True, 20: False, 30: False}
    monkeypatch.undo()
    assert not any(s["sharp"] for s in samples_without_images(MixConfig(soft_truth=1), 50, monkeypatch))


def test_softened_truth_has_less_detail() -> None:
    source = CartoonSource(1)
    plain = TrainingPairs(source, MixConfig(jitter=0, soft_truth=0), None, 1, 4)[0]
    soft = TrainingPairs(source, MixConfig(jitter=0, soft_truth=1), None, 1, 4)[0]
    detail = [cv2.Laplacian(s["truth"].numpy(), cv2.CV_64F).var() for s in (plain, soft)]
    assert detail[1] < 0.8 * detail[0]
    assert (bool(plain["sharp"]), bool(soft["sharp"])) == (True, False)


def test_pair_degrades_the_truth_at_256() -> None:
    truth = draw_face(512, 2)
    sample = make_pair(truth, True, DegradationParams("clean"), np.random.default_rng(0), ALL)
    assert_array_equal(sample["truth"].numpy(), truth)
    assert_array_equal(sample["input"].numpy(), resize(truth, 256, 256))


def test_pair_contains_the_degradation_parameters() -> None:
    params = sample_params("heavy", np.random.default_rng(7))
    sample = make_pair(draw_face(512, 2), True, params, np.random.default_rng(7), ALL)
    assert DegradationParams(**sample["params"]) == params


def test_fixed_pairs_are_every_face_with_every_recipe() -> None:
    pairs = FixedPairs(CartoonSource(2), ["mild", "clean"], 1)
    assert len(pairs) == 4
    samples = [pairs[i] for i in range(4)]
    assert [s["params"]["recipe"] for s in samples] == ["mild", "clean"] * 2
    assert_array_equal(samples[2]["truth"].numpy(), CartoonSource(2).face(1))
    assert same(pairs[2], samples[2])
    # Two faces do not have the same random numbers.
    assert samples[0]["params"] != samples[2]["params"]


BAD_MIXES = {
    "sum": ({"recipes": {"mild": 0.5}}, "sum to 0.500"),
    "recipe": ({"recipes": {"milt": 1.0}}, "got 'milt'"),
    "codec": ({"codec": 1.2}, "data.mix.codec: got 1.2"),
    "jitter": ({"jitter": -0.1}, "data.mix.jitter: got -0.1"),
}


@pytest.mark.parametrize("name", BAD_MIXES)
def test_bad_mix_is_refused(name: str) -> None:
    options, message = BAD_MIXES[name]
    with pytest.raises(ConfigError, match=message):
        MixConfig(**options)  # type: ignore[arg-type]


def test_samples_do_not_share_memory_with_the_source() -> None:
    pixels = np.stack([draw_face(512, 1)])
    pixels.setflags(write=False)  # a write would raise
    pairs = TrainingPairs(ArraySource(pixels, [SHARP]), MixConfig(jitter=1, soft_truth=0.5), None, 0, 6)
    for i in range(6):
        pairs[i]["truth"].add_(1)
    assert_array_equal(pixels[0], draw_face(512, 1))


def test_valid_mask_moves_with_the_jittered_face() -> None:
    """The valid part of the crop is white, the rest black: in the sample valid pixels must be white, too."""
    face = np.zeros((512, 512, 3), np.uint8)
    face[64:448, 100:512] = 255
    record = FaceRecord("a.png", "s", "real", "", 512, 600.0, "train", (100, 64, 512, 448))
    pairs = TrainingPairs(ArraySource(face[None], [record]), MixConfig(jitter=0.8, exposure=0), None, 3, 30)
    fractions = []
    for i in range(30):
        sample = pairs[i]
        white = resize(sample["truth"].numpy(), 256, 256)[..., 0] > 127
        valid = sample["valid"].numpy()
        # Softening moves an edge by a pixel or two; jitter mirrors white in at the border, which is not valid.
        assert np.mean(valid & ~white) < 0.01
        fractions.append(valid.mean())
    exact = (384 / 512) * (412 / 512)
    assert min(fractions) > 0.9 * exact
    assert max(fractions) <= 1.09 * exact


def test_without_a_box_only_pixels_mirrored_by_jitter_are_invalid() -> None:
    pairs = TrainingPairs(CartoonSource(1), MixConfig(jitter=0), None, 0, 8)
    assert pairs[0]["valid"].all()
    jittered = TrainingPairs(CartoonSource(1), MixConfig(jitter=1), None, 0, 8)
    assert all(0.85 < float(jittered[i]["valid"].float().mean()) < 1 for i in range(4))


def test_masked_pixels_are_filled_and_the_others_stay() -> None:
    truth = draw_face(512, 2)
    unknown = np.zeros((256, 256), np.bool_)
    unknown[100:150, 60:190] = True
    params = sample_params("mild", np.random.default_rng(0))
    plain, masked = (make_pair(truth, True, params, np.random.default_rng(1), ALL, u) for u in (None, unknown))
    assert not plain["unknown"].any()
    assert_array_equal(masked["unknown"].numpy(), unknown)
    assert_array_equal(masked["input"].numpy()[~unknown], plain["input"].numpy()[~unknown])
    difference = np.abs(masked["input"].numpy()[unknown].astype(int) - plain["input"].numpy()[unknown])
    assert difference.mean() > 5
