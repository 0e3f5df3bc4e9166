"""The background's enlargement, and Expert-F behind its protocol."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from likeness.errors import ConfigError, InputError, WeightsError
from likeness.nets.expert_f import ExpertF, ExpertFConfig
from likeness.stages.background.base import WITHOUT_FILE, BackgroundConfig, choose_upscale
from likeness.stages.background.lanczos import lanczos
from likeness.stages.restore.expert_f import ExpertFExpert, load_expert_f
from likeness.weights.files import file_hash, save_weights

SMALL = ExpertFConfig(widths=(8, 8, 8), encoder=(1, 1, 1), decoder=(1, 1), skips=(4, 4), fourier=4)


@pytest.mark.parametrize(
    ("option", "kind", "size", "expected"),
    [
        ("auto", "photo", (2000, 900), 2),
        ("auto", "photo", (900, 2000), 2),
        ("auto", "photo", (2001, 900), 1),
        ("auto", "photo", (900, 2001), 1),
        ("auto", "video", (320, 240), 1),
        ("auto", "gif", (100, 100), 1),
        ("4", "video", (320, 240), 4),
        ("1", "photo", (10, 10), 1),
        ("2", "photo", (9000, 9000), 2),
    ],
)
def test_choose_upscale(option, kind, size, expected):
    assert choose_upscale(option, kind, *size) == expected


@pytest.mark.parametrize("option", ["3", "", "0", "2.0"])
def test_other_factors_are_refused(option):
    with pytest.raises(ConfigError, match="upscale"):
        choose_upscale(option, "photo", 10, 10)


@pytest.mark.parametrize("name", WITHOUT_FILE)
def test_named_backgrounds_read_no_file(name):
    with pytest.raises(ConfigError, match=f"{name} reads none"):
        BackgroundConfig(name, file="a.pth")


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_enlarging_keeps_pixel_centres(factor, dtype):
    ramp = (np.arange(64)[None, :, None] * 3 * np.ones((40, 1, 3))).astype(dtype)
    big = lanczos(ramp, factor)
    assert big.shape == (40 * factor, 64 * factor, 3)
    assert big.dtype == dtype
    x = np.arange(8 * factor, 56 * factor)
    np.testing.assert_allclose(big[20, x, 0], 3 * ((x + 0.5) / factor - 0.5), atol=1)


def test_factor_one_is_a_copy(portrait):
    same = lanczos(portrait, 1)
    np.testing.assert_array_equal(same, portrait)
    assert not np.shares_memory(same, portrait)
    assert lanczos(portrait[..., 0], 2).shape == (1024, 1024)


@pytest.fixture(scope="module")
def expert() -> ExpertFExpert:
    torch.manual_seed(0)
    net = ExpertF(SMALL)
    with torch.no_grad():
        for p in net.parameters():  # a zero head would return its input
            p.add_(0.02 * torch.randn_like(p))
    return ExpertFExpert(net)


def test_a_batch_restores_each_face_as_alone(expert):
    rng = np.random.default_rng(0)
    crops = [cv2.resize(rng.random((16, 16, 3), np.float32), (256, 256)) for _ in range(3)]
    together = expert.restore(crops)
    for crop, restored in zip(crops, together, strict=True):
        (alone,) = expert.restore([crop])
        np.testing.assert_allclose(restored.image, alone.image, atol=1e-5)
        assert restored.image.shape == (512, 512, 3)
        assert restored.image.min() >= 0
        assert restored.image.max() <= 1
        assert 0 <= restored.confidence.min() <= restored.confidence.max() <= 1
    assert np.abs(together[0].image - together[1].image).max() > 0.1
    assert expert.restore([]) == []


def test_the_output_lies_over_the_input(expert):
    """The pixels of the result are where the crop's are: a bicubic enlargement is close to it."""
    plain = ExpertFExpert(ExpertF(SMALL))
    crop = cv2.resize(np.random.default_rng(1).random((12, 12, 3), np.float32), (256, 256))
    (restored,) = plain.restore([crop])
    bicubic = cv2.resize(crop, (512, 512), interpolation=cv2.INTER_CUBIC)
    assert np.abs(restored.image - np.clip(bicubic, 0, 1)).mean() < 0.02


@pytest.mark.parametrize("shape", [(512, 512, 3), (256, 256, 4), (256, 256)])
def test_other_shapes_are_refused(expert, shape):
    with pytest.raises(InputError, match="256"):
        expert.restore([np.zeros(shape, np.float32)])


def test_weights_make_the_same_expert_again(expert, tmp_path):
    file = tmp_path / "e.safetensors"
    config = {k: list(v) if isinstance(v, tuple) else v for k, v in vars(SMALL).items()}
    save_weights(file, "expert_f", config, expert.net.state_dict(), {})
    loaded = load_expert_f(file)
    assert loaded.sha256 == file_hash(file)
    crop = np.random.default_rng(2).random((256, 256, 3), np.float32)
    np.testing.assert_allclose(loaded.restore([crop])[0].image, expert.restore([crop])[0].image, atol=0.02)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(WeightsError, match="does not exist"):
        load_expert_f(tmp_path / "none.safetensors")


def test_weights_stored_as_bf16_change_no_more_than_a_rounding():
    """Autocast would round them to the same numbers on every call; without bf16 in the CPU the sums may differ."""
    torch.manual_seed(3)
    net = ExpertF(SMALL).eval().requires_grad_(False)
    for p in net.parameters():
        p.add_(0.05 * torch.randn_like(p))
    crop = cv2.resize(np.random.default_rng(0).random((24, 24, 3), np.float32), (256, 256))
    x = torch.from_numpy(crop).permute(2, 0, 1)[None]
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        expected = net(x).image.clamp(0, 1)
    (made,) = ExpertFExpert(net, bf16=True).restore([crop])
    apart = np.abs(made.image - expected[0].permute(1, 2, 0).numpy())
    assert apart.max() <= 2**-8
    assert apart.mean() < 2**-12
    assert net.up256.weight.dtype == torch.bfloat16
    assert net.bottom[1].mix[0].weight.dtype == torch.float32
