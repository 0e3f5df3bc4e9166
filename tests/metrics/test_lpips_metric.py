"""LPIPS against the lpips package, with random backbone weights."""

from __future__ import annotations

import os
from pathlib import Path

import lpips as package
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor

from likeness.errors import ConfigError, WeightsError
from likeness.metrics.lpips import Lpips, backbone_file, load_lpips


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SqueezeNet with torchvision's names, in half precision like a small file."""
    torch.manual_seed(1)
    file = tmp_path_factory.mktemp("lpips") / "squeezenet1_1.safetensors"
    save_file({k: v.half() for k, v in torchvision.models.squeezenet1_1(weights=None).state_dict().items()}, file)
    return file


@pytest.fixture(scope="module")
def network(backbone: Path) -> Lpips:
    return load_lpips(backbone)


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, 64, 64, generator=generator), torch.rand(2, 3, 64, 64, generator=generator)


@pytest.mark.filterwarnings("ignore::UserWarning")  # the package calls torchvision by deprecated arguments
def test_lpips_equals_the_lpips_package(network: Lpips, pair: tuple[Tensor, Tensor], backbone: Path) -> None:
    expected = package.LPIPS(net="squeeze", pnet_rand=True, verbose=False)
    torchvision_net = torchvision.models.squeezenet1_1(weights=None)
    from safetensors.torch import load_file

    torchvision_net.load_state_dict({k: v.float() for k, v in load_file(backbone).items()})
    for name, layer in torchvision_net.features.named_children():
        for part in expected.net.children():
            if name in dict(part.named_children()):
                part.get_submodule(name).load_state_dict(layer.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(network(*pair), expected(*pair, normalize=True).flatten(), rtol=1e-4, atol=1e-6)


def test_pth_file_equals_the_safetensors_file(
    network: Lpips, pair: tuple[Tensor, Tensor], backbone: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    torch.save(load_file(backbone), tmp_path / "net.pth")
    assert torch.equal(load_lpips(tmp_path / "net.pth")(*pair), network(*pair))


def test_compared_features_equal_the_forward_pass_and_equal_images_have_zero(
    network: Lpips, pair: tuple[Tensor, Tensor]
) -> None:
    a, b = pair
    assert torch.equal(network.compare(network.features(a), network.features(b)), network(a, b))
    assert network(a, a).abs().max() == 0


def test_gradients_are_finite_on_flat_images(network: Lpips) -> None:
    output = torch.zeros(1, 3, 64, 64, requires_grad=True)
    network(output, torch.rand(1, 3, 64, 64)).sum().backward()
    assert output.grad is not None
    assert torch.isfinite(output.grad).all()
    assert output.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in network.parameters())


def test_loading_does_not_change_the_callers_random_state(backbone: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    load_lpips(backbone)
    assert torch.equal(torch.rand(4), expected)


def test_missing_backbone_is_an_error_that_names_the_option(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, backbone: Path
) -> None:
    monkeypatch.setenv("LIKENESS_DATA", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=r"weights\.lpips=FILE"):
        load_lpips()
    (tmp_path / "backbones").mkdir()
    (tmp_path / "backbones" / "squeezenet1_1.safetensors").symlink_to(backbone)
    assert backbone_file() == tmp_path / "backbones" / "squeezenet1_1.safetensors"


def test_file_of_another_network_is_refused(tmp_path: Path, backbone: Path) -> None:
    (tmp_path / "text.safetensors").write_text("not weights")
    save_file({"features.0.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    for file in ("text", "other", "absent"):
        with pytest.raises(WeightsError, match=f"{file}.safetensors"):
            load_lpips(tmp_path / f"{file}.safetensors")
    with pytest.raises(ConfigError, match="squeeze, alex, vgg"):
        load_lpips(backbone, net="resnet")


@pytest.mark.data
@pytest.mark.skipif("LIKENESS_DATA" not in os.environ, reason="needs the ImageNet backbone in $LIKENESS_DATA/backbones")
def test_stronger_blur_has_a_larger_distance() -> None:
    from skimage.data import astronaut

    network = load_lpips()
    truth = torch.from_numpy(astronaut()[:256, 128:384].copy()).permute(2, 0, 1)[None] / 255
    blur = torchvision.transforms.GaussianBlur(25, 1.0), torchvision.transforms.GaussianBlur(25, 3.0)
    values = [network(x, truth).item() for x in (truth, blur[0](truth), blur[1](truth))]
    assert values[0] == 0
    assert 0.01 < values[1] < values[2] / 1.5 < 0.5
