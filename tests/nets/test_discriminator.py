"""The discriminator and its losses against known answers."""

from __future__ import annotations

import pytest
import torch

from likeness.nets.discriminator import PatchDiscriminator, adaptive_weight, hinge_discriminator, hinge_generator

HINGE = {
    "both beyond the margin": ([2.0, 1.0], [-1.0, -3.0], 0.0),
    "undecided": ([0.0, 0.0], [0.0, 0.0], 1.0),
    "real taken for false": ([-1.0], [-2.0], 1.0),
    "false taken for real": ([3.0], [1.0], 1.0),
    "half way": ([0.5, 1.5], [-0.5, -1.5], 0.25),
}


@pytest.mark.parametrize("name", HINGE)
def test_hinge(name: str) -> None:
    real, fake, expected = HINGE[name]
    assert float(hinge_discriminator(torch.tensor(real), torch.tensor(fake))) == pytest.approx(expected)


def test_the_generator_wants_higher_scores() -> None:
    assert float(hinge_generator(torch.tensor([1.0, 3.0]))) == -2


def test_adaptive_weight_makes_both_pull_alike() -> None:
    a, b = torch.tensor([3.0, 4.0]), torch.tensor([0.0, 0.5])
    weight = adaptive_weight(a, b)
    assert float(weight) == pytest.approx(10, rel=1e-4)
    assert float((weight * b).norm()) == pytest.approx(float(a.norm()), rel=1e-4)
    assert float(adaptive_weight(a, torch.zeros(2), largest=50)) == 50
    assert float(adaptive_weight(torch.zeros(2), b)) == 0


def test_a_score_reads_seventy_pixels() -> None:
    torch.manual_seed(0)
    net = PatchDiscriminator(8)
    image = torch.rand(1, 3, 128, 128, requires_grad=True)
    scores, features = net(image)
    assert [tuple(f.shape[1:]) for f in features] == [(8, 64, 64), (16, 32, 32), (32, 16, 16), (32, 15, 15)]
    assert scores.shape == (1, 1, 14, 14)
    scores[0, 0, 7, 7].backward()
    assert image.grad is not None
    seen = image.grad[0].abs().sum(0) > 0
    rows, columns = seen.any(1).nonzero().flatten(), seen.any(0).nonzero().flatten()
    assert int(rows[-1] - rows[0]) + 1 == 70
    assert int(columns[-1] - columns[0]) + 1 == 70


def test_every_layer_is_held_to_a_gain_of_one() -> None:
    torch.manual_seed(0)
    net = PatchDiscriminator(8).train()
    for layer in (*net.down, net.mix, net.score):
        layer.parametrizations.weight.original.data.mul_(30)
    for _ in range(30):
        net(torch.rand(1, 3, 64, 64))
    for layer in (*net.down, net.mix, net.score):
        assert float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)) == pytest.approx(1, abs=0.05)


def test_discriminator_learns_to_separate_noise_from_smooth_images() -> None:
    torch.manual_seed(0)
    net = PatchDiscriminator(8)
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3)
    for _ in range(60):
        noise = torch.rand(2, 3, 64, 64)
        smooth = torch.nn.functional.avg_pool2d(noise, 9, 1, 4)
        loss = hinge_discriminator(net(smooth).scores, net(noise).scores)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(net(smooth).scores.mean()) > 0 > float(net(noise).scores.mean())
