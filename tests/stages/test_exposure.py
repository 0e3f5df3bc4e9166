"""Dark faces are read bright and given back dark; others pass through untouched, whoever restores them."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from likeness.data.faces import read_face, read_manifest, split_records
from likeness.data.synthetic_faces import draw_face
from likeness.nets.expert_f import ExpertF
from likeness.nets.expert_t import ExpertT
from likeness.nets.expert_t_data import Frozen
from likeness.nets.prior import Prior
from likeness.ops.color import to_float
from likeness.stages import restore as package
from likeness.stages.restore.base import BaseExpert
from likeness.stages.restore.expert_f import ExpertFExpert
from likeness.stages.restore.expert_t import ExpertTExpert, KnobsConfig
from likeness.stages.restore.exposure import MOST, NOISIEST, REFERENCE, apply, gain, level, noise, undo
from likeness.stages.restore.external import ExternalExpert
from likeness.stages.restore.onnx import OnnxExpert
from likeness.types import Conditions, FloatArray
from likeness.weights.external import ExternalNet
from likeness.weights.onnx import STATE
from tests.tiny import FIRST, PRIOR, TINY


def flat(value: float, size: int = 256) -> FloatArray:
    return np.full((size, size, 3), value, np.float32)


@pytest.fixture(scope="module")
def face() -> FloatArray:
    """An ordinary one, (256, 256, 3)."""
    return (draw_face(256, 3) / 255).astype(np.float32)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1.0, 1.0), (REFERENCE + 1e-3, 1.0), (REFERENCE / 2, 2.0), (REFERENCE / 4, 4.0), (0.06, MOST), (0.0, MOST)],
)
def test_the_gain_brings_skin_to_the_reference_and_no_further(value: float, expected: float) -> None:
    assert gain(flat(value)) == pytest.approx(expected, rel=1e-5)
    assert (gain(flat(value)) == 1) == (expected == 1)


def test_the_gain_has_no_step() -> None:
    gains = [gain(flat(v)) for v in np.linspace(0.05, 0.7, 600)]
    steps = -np.diff(np.log(gains))
    assert (steps >= 0).all()
    assert steps.max() < 0.012  # the largest relative step of the brightness itself


def test_the_level_is_that_of_the_face_window_whatever_noise_size_and_single_highlights(face: FloatArray) -> None:
    assert level(cv2.resize(face, (512, 512), interpolation=cv2.INTER_CUBIC)) == pytest.approx(level(face), rel=0.01)
    rng = np.random.default_rng(0)
    noisy = np.clip(face + 0.06 * rng.standard_normal(face.shape, np.float32), 0, 1)
    assert level(noisy) == pytest.approx(level(face), rel=0.03)
    spotted, window = face.copy(), face.copy()
    spotted[140:144, 120:124] = 1
    window[:60] = window[:, :20] = 1
    assert level(spotted) == pytest.approx(level(face), rel=0.02)
    assert level(window) == pytest.approx(level(face), rel=0.01)


def test_noise_is_that_of_the_pixels_and_limits_the_gain() -> None:
    rng = np.random.default_rng(0)
    white = rng.standard_normal((256, 256, 3), np.float32)
    # The mean over 4 x 4 pixels has a quarter of their noise; pixels of 64, enlarged, keep theirs.
    assert noise(0.4 + 0.04 * white) == pytest.approx(0.01, rel=0.05)
    coarse = cv2.resize(white[:64, :64], (256, 256), interpolation=cv2.INTER_NEAREST)
    assert noise(0.4 + 0.04 * coarse) == pytest.approx(0.04, rel=0.05)
    ramp = np.linspace(0.1, 0.3, 256, dtype=np.float32)[:, None, None] * np.ones((1, 256, 3), np.float32)
    assert noise(ramp) < 1e-4
    known = [gain(flat(0.125) + sigma * coarse) for sigma in np.float32([0, 0.005, 0.007, 0.012, 0.05])]
    assert known[0] == pytest.approx(4)
    assert known[3] == pytest.approx(NOISIEST / 0.012, rel=0.06)
    assert known == sorted(known, reverse=True)
    assert known[-1] == 1


@pytest.mark.data
def test_at_least_95_percent_of_ordinary_faces_have_a_gain_of_exactly_1(data_root: Path) -> None:
    root = data_root / "faces"
    records = [r for r in split_records(read_manifest(root), "val") if r.kind == "real"]
    found = [gain(to_float(read_face(root, r, 256))) for r in records[:: max(1, len(records) // 120)]]
    assert np.mean(np.array(found) == 1) >= 0.95


@pytest.mark.parametrize("by", [1.0, 1.7, 4.0])
def test_what_is_raised_and_brought_back_is_the_plain_enlargement(face: FloatArray, by: float) -> None:
    crop = cv2.GaussianBlur(face * np.float32(0.9 / by), (0, 0), 3)  # so soft that the cubic does not overshoot
    before = crop.copy()
    raised = apply(crop, by)
    np.testing.assert_array_equal(raised, np.minimum(crop * np.float32(by), 1))
    again = undo(cv2.resize(raised, (512, 512), interpolation=cv2.INTER_CUBIC), crop, by)
    np.testing.assert_allclose(again, cv2.resize(crop, (512, 512), interpolation=cv2.INTER_CUBIC), atol=2e-4)
    np.testing.assert_array_equal(crop, before)
    assert again.dtype == np.float32


def test_at_a_gain_of_1_the_same_arrays_are_passed_on(face: FloatArray) -> None:
    assert apply(face, 1.0) is face
    assert undo(face, flat(0.2), 1.0) is face


def test_what_was_cut_off_keeps_the_brightness_of_the_input() -> None:
    crop = flat(0.15)
    crop[:, 200:] = (0.9, 0.6, 0.3)  # a window in the background; of its colour only blue fits under the gain
    raised = apply(crop, 3.0)
    assert raised.max() == 1
    again = undo(cv2.resize(raised, (512, 512), interpolation=cv2.INTER_CUBIC), crop, 3.0)
    np.testing.assert_allclose(again[:, 420:], np.broadcast_to((0.9, 0.6, 0.3), (512, 92, 3)), atol=1e-6)
    np.testing.assert_allclose(again[:, :380], 0.15, atol=1e-6)
    assert np.abs(again - cv2.resize(crop, (512, 512), interpolation=cv2.INTER_CUBIC)).max() < 0.06  # at its edge


def larger(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.interpolate(x, scale_factor=2, mode="bicubic").clamp(0, 1)


class Graph:
    """A known graph: enlarges and squares; the state it returns is its input state plus 1."""

    def __init__(self, states: int = 0) -> None:
        self.states, self.seen = states, list[np.ndarray]()

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
        self.seen.append(inputs["face"])
        image = larger(torch.from_numpy(inputs["face"])).square().numpy()
        return image, np.full((1, 1, 64, 64), -3, np.float32), *(inputs[n] + 1 for n in STATE[: self.states])


def tiny_f() -> ExpertFExpert:
    torch.manual_seed(0)
    net = ExpertF(FIRST)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.02 * torch.randn_like(p))
    return ExpertFExpert(net)


def tiny_t() -> ExpertTExpert:
    torch.manual_seed(0)
    nets = ExpertT(TINY), Prior(PRIOR), ExpertF(FIRST)
    for net in nets:
        for weight in net.parameters():
            torch.nn.init.normal_(weight, mean=float(weight.detach().mean()), std=0.2)
    nets[1].train()(torch.from_numpy(draw_face(256, 3) / np.float32(255)).permute(2, 0, 1)[None])  # starts the codes
    return ExpertTExpert(nets[0], Frozen(nets[1], nets[2]), KnobsConfig(code_smoothing=0.5, pool=True))


def foreign() -> ExternalExpert:
    net = ExternalNet(lambda x: larger(x).square(), "squares", "FaceSR", 2, "0" * 64, torch.device("cpu"))
    return ExternalExpert(net)


def graph_t() -> OnnxExpert:
    state = {n: np.zeros((1, 4), np.float32) for n in STATE}
    return OnnxExpert("expert_t", Graph(len(STATE)), state, temporal=True)


EXPERTS: dict[str, Callable[[], Any]] = {
    "expert_f": tiny_f,
    "expert_t": tiny_t,
    "external": foreign,
    "graph": lambda: OnnxExpert("expert_f", Graph()),
    "graph of expert_t": graph_t,
}


@pytest.mark.parametrize("name", EXPERTS)
def test_every_expert_brightens_a_dark_face_and_returns_it_dark(name: str, face: FloatArray) -> None:
    expert = EXPERTS[name]()

    def restored(crops: list[FloatArray], known: float | None) -> list[FloatArray]:
        return [r.image for r in expert.restore(crops, [Conditions(None, 1.0, known)] * len(crops))]

    dark = face * np.float32(0.3)
    before, by = dark.copy(), gain(dark)
    assert gain(face) == 1
    assert by > 2
    # An ordinary face beside it is what its network makes of it, to the last bit.
    np.testing.assert_array_equal(restored([face], None)[0], restored([face], 1.0)[0])
    low, high = restored([dark, face], None)
    np.testing.assert_allclose(high, restored([face, face], 1.0)[1], atol=1e-5)
    (raised,) = restored([np.minimum(dark * np.float32(by), 1)], 1.0)
    cut = cv2.resize(np.maximum(dark - np.float32(1 / by), 0), (512, 512), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_allclose(low, np.clip(raised / by + np.clip(cut, 0, 1), 0, 1), atol=1e-5)
    (untouched,) = restored([dark], 1.0)
    assert np.abs(low - untouched).max() > 0.02  # it matters for each of these networks
    np.testing.assert_array_equal(dark, before)


def test_every_expert_of_the_package_normalises_exposure() -> None:
    found = []
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if kind.__module__ == module.name and hasattr(kind, "restore") and not getattr(kind, "_is_protocol", False):
                found.append(kind)
    assert {k.__name__ for k in found} >= {"ExpertFExpert", "ExpertTExpert", "ExternalExpert", "OnnxExpert"}
    for kind in found:
        assert issubclass(kind, BaseExpert), kind
        assert kind.restore is BaseExpert.restore, kind


def test_over_a_track_the_gain_goes_slowly_and_equal_frames_keep_it() -> None:
    dark = flat(REFERENCE / 3)
    first = gain(dark)
    assert gain(dark, first) == first
    # Light fades within a shot: a tenth of the way in the logarithm each frame.
    assert gain(flat(REFERENCE / 4), first) == pytest.approx(3 * (4 / 3) ** 0.1, rel=1e-5)
    gains = [1.0]
    for _ in range(80):
        gains.append(gain(dark, gains[-1]))
    assert np.diff(np.log(gains)).max() < 0.12
    assert gains[-1] == pytest.approx(3, rel=1e-3)


def test_a_face_that_got_bright_has_no_gain_in_the_end_and_is_never_made_white() -> None:
    bright = flat(0.7)
    gains = [3.0]
    for _ in range(60):
        gains.append(gain(bright, gains[-1]))
        assert gains[-1] * 0.7 < 1 + 1e-5
    assert gains[1] > 1.2
    assert gains[-1] == 1.0
