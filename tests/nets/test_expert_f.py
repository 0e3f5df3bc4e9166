"""Expert-F: how it starts, what its gradients reach, what its batch does not mix."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.nets.expert_f import ExpertF, ExpertFConfig, confidence

TINY = ExpertFConfig(widths=(8, 12, 16), encoder=(1, 1, 2), decoder=(1, 1), skips=(4, 8), fourier=8)


@pytest.fixture
def net() -> ExpertF:
    torch.manual_seed(0)
    return ExpertF(TINY)


@pytest.fixture
def awake(net: ExpertF) -> ExpertF:
    """The same after its zero layers have learned something."""
    torch.manual_seed(1)
    for name, parameter in net.named_parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
            assert "leave" in name or "amount" in name or "bias" in name, f"{name} starts at zero"
    return net


def images(count: int) -> Tensor:
    return torch.rand(count, 3, 256, 256, generator=torch.Generator().manual_seed(2))


def test_starts_as_the_bicubic_enlargement(net: ExpertF) -> None:
    x = images(2)
    expected = F.interpolate(x, size=(512, 512), mode="bicubic", align_corners=False)
    torch.testing.assert_close(net(x).image, expected)


def test_channels_last_gives_the_same(awake: ExpertF) -> None:
    x = images(1)
    plain = awake(x).image
    torch.testing.assert_close(awake(x.to(memory_format=torch.channels_last)).image, plain)


def test_every_weight_learns(awake: ExpertF) -> None:
    out = awake(images(1))
    (out.image.square().mean() + out.log_scale.square().mean()).backward()
    for name, parameter in awake.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_at_the_start_only_the_heads_wait_for_a_gradient(net: ExpertF) -> None:
    """A zero head is no dead end: it gets a gradient in the first step, the trunk in the second."""
    net(images(1)).image.square().mean().backward()
    assert net.leave256.weight.grad is not None
    assert net.leave256.weight.grad.abs().max() > 0


def test_stating_the_error_does_not_change_the_image(awake: ExpertF) -> None:
    awake(images(1)).log_scale.square().mean().backward()
    touched = {name for name, p in awake.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert touched == {name for name, _ in awake.named_parameters() if name.startswith("scale.")}


def test_a_face_does_not_depend_on_its_neighbours_in_the_batch(awake: ExpertF) -> None:
    x = images(3)
    with torch.inference_mode():
        together, alone = awake(x), awake(x[1:2])
    torch.testing.assert_close(together.image[1:2], alone.image, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(together.log_scale[1:2], alone.log_scale, atol=1e-5, rtol=1e-5)


def test_bf16_stays_near(awake: ExpertF) -> None:
    x = images(1)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        rough = awake(x)
    with torch.inference_mode():
        exact = awake(x)
    assert rough.image.dtype == rough.log_scale.dtype == torch.float32
    # The bicubic base runs in fp32; only the residual is rounded.
    residual = (exact.image - F.interpolate(x, scale_factor=2, mode="bicubic")).abs().max()
    assert (rough.image - exact.image).abs().max() < 0.05 * residual


def test_released_size() -> None:
    """9 MB in fp16. Whoever changes this has to train and release again."""
    assert sum(p.numel() for p in ExpertF().parameters()) == 4_553_310
    assert len(ExpertF().state_dict()) == 121


def test_config_round_trip() -> None:
    assert ExpertFConfig(**TINY.to_dict()) == TINY


def test_confidence_falls_with_the_stated_error_and_is_half_at_half() -> None:
    log_scale = torch.linspace(-9, 2, 50)
    sure = confidence(log_scale, 0.02)
    assert (sure.diff() < 0).all()
    assert sure.min() > 0
    assert sure.max() < 1
    assert float(confidence(torch.tensor(0.02).log(), 0.02)) == pytest.approx(0.5)


def test_inputs_unchanged(awake: ExpertF) -> None:
    x = images(1)
    before = x.clone()
    awake(x)
    assert torch.equal(x, before)


def test_half_is_the_mean_of_the_whole(awake: ExpertF) -> None:
    x = images(2)
    torch.nn.init.normal_(awake.smooth512.weight, std=0.3, generator=torch.Generator().manual_seed(3))
    features = awake.extract_features(x)
    whole = awake.decode(x, features)
    assert whole.std() > 0.1
    assert torch.allclose(awake.decode_half(x, features), F.avg_pool2d(whole, 2), atol=1e-5)


def test_noise_follows_its_shift_and_stands_still_without(awake: ExpertF) -> None:
    x = images(1)
    assert torch.equal(awake(x).image, awake(x).image)
    assert not torch.allclose(awake(x, (5, 9)).image, awake(x).image)
    assert torch.equal(awake(x, (256, 256)).image, awake(x).image)
