"""The GAN loss on windows of eyes, mouth and texture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from likeness.data.sources import CartoonSource
from likeness.errors import ConfigError
from likeness.nets.discriminator import DiscriminatorOutput, hinge_discriminator
from likeness.ops.geometry import template
from likeness.training.base import FaceModule
from likeness.training.callbacks import read_curves
from likeness.training.gan import (
    GanConfig,
    WindowGan,
    Windows,
    discriminator_loss,
    gan_gradient,
    generator_losses,
)
from likeness.training.run import train

from .conftest import QUICK, compose_train


def windows(count: int = 2, seed: int = 0, **options: Any) -> Windows:
    return Windows(count, GanConfig(**options), torch.Generator().manual_seed(seed))


def dots() -> Tensor:
    """(1, 3, 512, 512), white at the template's landmarks."""
    image = torch.zeros(1, 3, 512, 512)
    for x, y in template(512):
        image[..., round(y), round(x)] = 1
    return image


def test_eyes_and_mouth_are_centred_in_their_windows() -> None:
    cut = windows(1).cut(dots())
    assert {k: tuple(v.shape) for k, v in cut.items()} == {
        "eyes": (2, 3, 128, 128), "mouth": (1, 3, 128, 128), "texture": (2, 3, 128, 128)
    }  # fmt: skip
    for eye in cut["eyes"]:
        y, x = eye[0].nonzero()[0].tolist()
        assert abs(y - 63.5) <= 1
        assert abs(x - 63.5) <= 1
    nose, *corners = cut["mouth"][0, 0].nonzero().float()
    assert nose[0] < 10
    assert torch.stack(corners).mean(0).tolist() == pytest.approx([63.5, 63.5], abs=1.5)


def test_right_eyes_are_mirrored() -> None:
    ramp = torch.linspace(0, 1, 512).expand(1, 3, 512, 512)
    left, right = windows(1).cut(ramp)["eyes"]
    assert (left.diff(dim=-1) > 0).all()
    assert (right.diff(dim=-1) < 0).all()


def test_texture_windows_are_random_and_keep_off_the_border() -> None:
    corners = np.array(windows(200).texture_corners)
    assert corners.shape == (200, 2, 2)
    assert corners.min() >= 40
    assert corners.max() <= 512 - 40 - 128
    assert np.ptp(corners) > 250
    assert windows(5, 1).texture_corners == windows(5, 1).texture_corners != windows(5, 2).texture_corners


def test_mask_is_true_where_windows_are_cut() -> None:
    image = torch.rand(2, 3, 512, 512, generator=torch.Generator().manual_seed(0)).requires_grad_()
    where = windows()
    sum(w.sum() for w in where.cut(image).values()).backward()
    assert image.grad is not None
    assert torch.equal(image.grad[:, :1] != 0, where.mask(image))


def sides(fake: float, real: float) -> dict[str, tuple[DiscriminatorOutput, DiscriminatorOutput]]:
    one = {v: DiscriminatorOutput(torch.full((1, 1, 2, 2), v), (torch.full((1, 2, 2, 2), v),)) for v in (fake, real)}
    return {"eyes": (one[fake], one[real]), "mouth": (one[fake], one[real])}


def test_losses_of_constant_scores_and_features_are_known() -> None:
    assert float(discriminator_loss(sides(-2.0, 2.0))) == 0
    assert float(discriminator_loss(sides(0.5, 0.5))) == pytest.approx((0.5 + 1.5) / 2)
    losses = generator_losses(sides(1.0, 2.0))
    assert float(losses["weight"]) == -1
    assert float(losses["feature_matching"]) == pytest.approx(0.5)  # |1 - 2| / 2
    assert float(losses["style"]) == pytest.approx(0.75)  # |1 - 4| / 4
    assert float(generator_losses(sides(2.0, 2.0))["style"]) == 0
    elsewhere = sides(2.0, 2.0) | {"texture": sides(1.0, 2.0)["eyes"]}
    assert float(generator_losses(elsewhere)["feature_matching"]) == 0, "texture must not be matched"


@pytest.mark.parametrize("name", ["weight", "feature_matching", "style"])
def test_gradient_of_each_loss_has_the_norm_of_its_weight(name: str) -> None:
    torch.manual_seed(0)
    config = GanConfig(**{name: 0.5}, width=4)
    gan, where = WindowGan(config), windows(1)
    image = torch.rand(1, 3, 512, 512).requires_grad_()
    reconstruction = 1e-5 * torch.randn(1, 3, 512, 512)
    outputs = gan.compare(image, torch.rand(1, 3, 512, 512), where)
    mask = where.mask(image)
    gradient, losses = gan_gradient(outputs, image, reconstruction, mask, config)
    assert float(gradient.norm()) == pytest.approx(0.5 * float((reconstruction * mask).norm()), rel=1e-3)
    assert not (gradient * ~mask).any()
    (expected,) = torch.autograd.grad(generator_losses(outputs)[name], image)
    assert float(torch.cosine_similarity(gradient.flatten(), expected.flatten(), 0)) == pytest.approx(1, abs=1e-4)
    assert set(losses) == {"weight", "feature_matching", "style"}


class Spy:
    """The parts of a module that `_add_gan` uses."""

    def __init__(self, gan: WindowGan) -> None:
        self.gan, self.logged = gan, dict[str, float]()

    def step_generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(0)

    def log(self, name: str, value: Tensor) -> None:
        self.logged[name] = float(value)

    def log_dict(self, values: dict[str, Tensor]) -> None:
        self.logged |= {name: float(value) for name, value in values.items()}


SHARP = {"the first": [True, False], "the second": [False, True], "both": [True, True], "none": [False, False]}


@pytest.mark.parametrize("name", SHARP)
def test_gan_applies_to_sharp_faces_only(name: str) -> None:
    torch.manual_seed(0)
    sharp = torch.tensor(SHARP[name])
    spy = Spy(WindowGan(GanConfig(weight=1.0, start=0.0, head_start=0.0, width=4)).eval())
    image, truth, gradient = torch.rand(2, 3, 512, 512), torch.rand(2, 3, 512, 512), 1e-5 * torch.rand(2, 3, 512, 512)
    before = gradient.clone()
    combined, loss = FaceModule._add_gan(spy, image, truth, sharp, gradient, 0.5)  # type: ignore[arg-type]
    assert torch.equal(gradient, before)
    changed = (combined != gradient).flatten(1).any(1)
    assert torch.equal(changed, sharp)
    if not sharp.any():
        assert float(loss) == 0
        assert "gan/scores" not in spy.logged
        return
    where = Windows(int(sharp.sum()), spy.gan.config, spy.step_generator())
    outputs = spy.gan.compare(image[sharp], truth[sharp], where)
    expected = [hinge_discriminator(real.scores, fake.scores) for fake, real in outputs.values()]
    assert float(loss) == pytest.approx(float(torch.stack(expected).mean()), rel=1e-5)


BAD = {
    "negative": {"weight": -1.0},
    "too large": {"window": 600},
    "smaller than the receptive field": {"window": 16},
    "no texture": {"texture_windows": 0},
    "start after the end": {"start": 3.0},
    "head start before the training": {"start": 0.1, "head_start": 0.2},
}


@pytest.mark.parametrize("name", BAD)
def test_bad_gan_option_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="gan"):
        GanConfig(**BAD[name])  # type: ignore[arg-type]


SMOKE = (
    *QUICK, "data.mix.soft_truth=0", "trainer.max_epochs=1", "logger=csv", "model.gan.start=0.5",
    "model.gan.head_start=0.25",
)  # fmt: skip


def state(folder: Path) -> dict[str, Tensor]:
    return dict(torch.load(folder / "smoke/checkpoints/last.ckpt", weights_only=False)["state_dict"])


def test_gan_trains_an_expert_after_the_head_start(tmp_path: Path) -> None:
    """Of four steps, the discriminators are trained from the second, the network with them from the third."""
    gan = ("model.gan.weight=1", "model.gan.style=1", "model.gan.feature_matching=1")
    train(compose_train(*SMOKE, *gan, f"paths.logs={tmp_path}/a"))
    curves = read_curves(tmp_path / "a/smoke/csv/metrics.csv")
    assert curves["gan/discriminator"][0] == [1, 2, 3]
    assert curves["gan/style"][0] == [2, 3]
    train(compose_train(*SMOKE, f"paths.logs={tmp_path}/b"))
    with_it, without = state(tmp_path / "a"), state(tmp_path / "b")
    assert not any(name.startswith("gan.") for name in without)
    assert not torch.equal(with_it["net.leave256.weight"], without["net.leave256.weight"])


@pytest.mark.slow
def test_gan_does_not_change_an_expert_trained_on_soft_truths(tmp_path: Path) -> None:
    for name, weight in (("a", 0), ("b", 1)):
        options = ("data.mix.soft_truth=1", "model.gan.start=0", "model.gan.head_start=0", f"model.gan.weight={weight}")
        train(compose_train(*SMOKE, *options, f"paths.logs={tmp_path}/{name}"))
    one, other = state(tmp_path / "a"), state(tmp_path / "b")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_invalid_pixels_have_no_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a valid pixel the losses of the image do not change the network."""
    monkeypatch.setattr(CartoonSource, "valid", lambda self, index: np.zeros((256, 256), np.bool_))
    options = ("trainer.max_steps=2", "trainer.limit_val_batches=0", "callbacks.best=null")
    weights = ("model.optimizer.weight_decay=0", "model.loss.weights.lattice=0", f"paths.logs={tmp_path}")
    _, objects = train(compose_train(*QUICK, *options, *weights))
    net = objects["model"].net
    assert not net.leave256.weight.any()  # it starts at 0
