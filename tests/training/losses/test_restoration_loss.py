"""The weighted sum: which losses are computed, when, and on which pixels."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.data.synthetic_faces import draw_face
from likeness.metrics.lpips import Lpips
from likeness.training.losses import restoration
from likeness.training.losses.frequency import focal_frequency
from likeness.training.losses.lattice import spectral_peaks
from likeness.training.losses.likelihood import laplace_nll
from likeness.training.losses.pixel import chroma_l1, feature_weights, weighted_l1
from likeness.training.losses.restoration import CHROMA_FEATURES, LossWeights, RestorationLoss

OFF = LossWeights(chroma=0, frequency=0, identity=0, lpips=0, lattice=0, scale=0)


@pytest.fixture(scope="module")
def truth() -> Tensor:
    faces = torch.stack([torch.from_numpy(draw_face(512, seed)) for seed in (1, 2)])
    return faces.permute(0, 3, 1, 2).float() / 255


@pytest.fixture(scope="module")
def image(truth: Tensor) -> Tensor:
    return F.interpolate(F.avg_pool2d(truth, 4), scale_factor=4, mode="bilinear") + 0.01


SHARP = torch.tensor([True, False])


def parts(
    loss: RestorationLoss, image: Tensor, truth: Tensor, progress: float = 1.0, seed: int = 0
) -> dict[str, Tensor]:
    return loss(image, truth, SHARP, progress, torch.Generator().manual_seed(seed))


WEIGHTS = {
    "l1 alone": (OFF, {"l1"}),
    "chroma": (replace(OFF, chroma=1.0), {"l1", "chroma"}),
    "frequency": (replace(OFF, frequency=1.0), {"l1", "frequency"}),
    "lattice": (replace(OFF, lattice=1.0), {"l1", "lattice"}),
    "identity": (replace(OFF, identity=1.0), {"l1", "identity"}),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_loss_of_weight_zero_is_left_out(name: str, image: Tensor, truth: Tensor) -> None:
    weights, expected = WEIGHTS[name]
    loss = RestorationLoss(weights)
    assert set(parts(loss, image, truth)) == expected
    assert (loss.embedder is not None) == ("identity" in expected)
    assert loss.lpips is None


def test_losses_without_a_random_window_equal_their_functions(image: Tensor, truth: Tensor) -> None:
    weights = replace(OFF, l1=2.0, features=1.5, chroma=0.4, lattice=0.3, scale=0.7)
    loss = RestorationLoss(weights)
    losses = parts(loss, image, truth)
    small, small_truth = F.avg_pool2d(image, 2), F.avg_pool2d(truth, 2)
    at_256 = weighted_l1(small, small_truth, feature_weights(256, 1.5), torch.ones(2))
    at_512 = weighted_l1(image[:1], truth[:1], feature_weights(512, 1.5), torch.ones(1))  # the sharp face only
    torch.testing.assert_close(losses["l1"], 2 * (at_256 + at_512 / 2))
    colour = chroma_l1(small, small_truth, feature_weights(64, CHROMA_FEATURES))
    torch.testing.assert_close(losses["chroma"], 0.4 * colour)
    first = int(torch.randint(4, (), generator=torch.Generator().manual_seed(0)))  # of the lines that are used
    torch.testing.assert_close(losses["lattice"], 0.3 * spectral_peaks(image, slice(first, None, 4)))
    log_scale = torch.full((2, 1, 64, 64), -3.0)
    valid = torch.ones(2, 1, 512, 512, dtype=torch.bool)
    expected = 0.7 * laplace_nll(log_scale, small, small_truth)
    torch.testing.assert_close(loss.scale(log_scale, image, truth, valid), expected)
    half = valid.clone()
    half[..., :250] = False
    inside = laplace_nll(log_scale[..., 32:], small[..., 128:], small_truth[..., 128:])  # a cell is 8 pixels at 512
    torch.testing.assert_close(loss.scale(log_scale, image, truth, half), 0.7 * inside)
    assert loss.scale(log_scale, image, truth, ~valid) == 0


def test_frequency_uses_the_whole_image_at_256_and_a_window_at_512(image: Tensor, truth: Tensor) -> None:
    loss = RestorationLoss(replace(OFF, frequency=1.0))
    small, small_truth = F.avg_pool2d(image, 2), F.avg_pool2d(truth, 2)
    whole = focal_frequency(small, small_truth, torch.ones(2))
    values = {float(parts(loss, image, truth, seed=s)["frequency"] - whole) for s in range(4)}
    assert len(values) == 4  # another window each time
    soft = loss(image, truth, torch.tensor([False, False]), 1.0, torch.Generator().manual_seed(0))
    torch.testing.assert_close(soft["frequency"], whole)


def test_losses_of_equal_images_are_zero_except_for_the_lattice(truth: Tensor) -> None:
    losses = parts(RestorationLoss(LossWeights(lpips=0, scale=0)), truth.clone(), truth)
    assert set(losses) == {"l1", "chroma", "frequency", "identity", "lattice"}
    for name in ("l1", "chroma", "frequency", "identity"):
        assert float(losses[name]) == pytest.approx(0, abs=1e-7), name


def test_soft_truth_has_no_loss_at_512(image: Tensor, truth: Tensor) -> None:
    """Structure that vanishes in the 2x2 mean has a loss for the sharp face only."""
    board = ((torch.arange(512)[:, None] + torch.arange(512)) % 2).float() * 2 - 1
    loss = RestorationLoss(replace(OFF, frequency=1.0))
    for i, sharp in enumerate(SHARP.tolist()):
        changed = truth.clone()
        changed[i] += 0.1 * board
        losses = parts(loss, changed, truth)
        for name in ("l1", "frequency"):
            assert (float(losses[name]) > 1e-3) == sharp, (name, i)


def test_identity_is_the_squared_distance_of_one_random_view(
    image: Tensor, truth: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = RestorationLoss(replace(OFF, identity=2.0))
    values = {float(parts(loss, image, truth, seed=s)["identity"]) for s in range(3)}
    assert len(values) == 3  # another view each time
    monkeypatch.setattr(restoration, "_corner", lambda limit, generator: limit - 1)
    assert loss.embedder is not None
    small, small_truth = (torch.roll(F.avg_pool2d(x, 2), (4, 4), (2, 3)).flip(3) for x in (image, truth))
    distance = (loss.embedder.embed_aligned(small) - loss.embedder.embed_aligned(small_truth)).norm(dim=1)
    identity = parts(loss, image, truth)["identity"]
    torch.testing.assert_close(identity, 2 * distance.square().mean())


def test_identity_has_a_gradient_for_the_image_only(image: Tensor, truth: Tensor) -> None:
    loss = RestorationLoss(replace(OFF, identity=1.0))
    a, b = image[:1].clone().requires_grad_(), truth[:1].clone().requires_grad_()
    loss(a, b, SHARP[:1], 1.0, torch.Generator().manual_seed(0))["identity"].backward()
    assert a.grad is not None
    assert a.grad.abs().max() > 0
    assert b.grad is None or b.grad.abs().max() == 0


def test_lpips_starts_at_lpips_start_and_uses_windows(
    image: Tensor, truth: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    class Spy(Lpips):
        def forward(self, output: Tensor, truth: Tensor) -> Tensor:
            sizes.append(tuple(output.shape))
            return super().forward(output, truth)

    torch.manual_seed(0)
    monkeypatch.setattr(restoration, "load_lpips", lambda path: Spy())
    loss = RestorationLoss(replace(OFF, lpips=0.5, lpips_start=0.25, lpips_window=64))
    assert "lpips" not in parts(loss, image, truth, progress=0.2499)
    assert not sizes
    losses = parts(loss, image, truth, progress=0.25)
    assert sizes == [(2, 3, 64, 64)]
    assert float(losses["lpips"]) > 0
    assert float(parts(loss, truth.clone(), truth)["lpips"]) == pytest.approx(0, abs=1e-6)


def test_losses_depend_on_the_generators_seed(image: Tensor, truth: Tensor) -> None:
    loss = RestorationLoss(LossWeights(lpips=0))
    first, again, other = (parts(loss, image, truth, seed=s) for s in (3, 3, 4))
    assert all(torch.equal(first[n], again[n]) for n in first)
    assert not torch.equal(first["identity"], other["identity"])


def test_loss_is_no_module() -> None:
    assert not isinstance(RestorationLoss(OFF), torch.nn.Module)


def test_loss_does_not_change_its_inputs(image: Tensor, truth: Tensor) -> None:
    before = image.clone(), truth.clone()
    parts(RestorationLoss(LossWeights(lpips=0)), image, truth)
    assert torch.equal(image, before[0])
    assert torch.equal(truth, before[1])
