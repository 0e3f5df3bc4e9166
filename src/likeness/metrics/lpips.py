"""Learned perceptual image patch similarity (Zhang et al., CVPR 2018), as a metric and as a loss.

The heads come from the `lpips` package, the backbone's ImageNet features from a file with torchvision's key names.
Nothing is downloaded at run time.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import lpips as reference
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from likeness.errors import ConfigError, WeightsError
from likeness.metrics.images import check_pair
from likeness.paths import data_folder

_BACKBONES = {"squeeze": "squeezenet1_1", "alex": "alexnet", "vgg": "vgg16"}  # torchvision's names
_TINY = 1e-20
# The window of an FFHQ-256 crop that dlib's recogniser reads.
FACE = (slice(None), slice(None), slice(69, 234), slice(45, 210))


class Lpips(nn.Module):
    """LPIPS v0.1 with linear heads, differentiable with respect to its inputs; its weights are frozen.

    Args:
        net: squeeze, alex or vgg.
    """

    def __init__(self, net: str = "squeeze") -> None:
        super().__init__()
        # The package initialises the backbone randomly, which must not change the caller's random state.
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it calls torchvision with deprecated arguments
            package = reference.LPIPS(net=net, pnet_rand=True, verbose=False)
        self.scaling = package.scaling_layer
        self.net = package.net
        self.heads = package.lins
        self.eval().requires_grad_(False)

    def features(self, images: Tensor) -> list[Tensor]:
        """Unit-length features of images, so that a truth is encoded once for several outputs.

        Args:
            images: (B, 3, H, W) in [0, 1].

        Returns:
            (B, C, h, w) for each layer.
        """
        images = images.contiguous(memory_format=torch.channels_last)  # pooling on CPU is ten times as fast
        outputs = self.net(self.scaling(2 * images - 1))
        # The derivative of the square root at zero is infinite; without the constant it makes the loss nan.
        return [x / (x.square().sum(1, keepdim=True) + _TINY).sqrt() for x in outputs]

    def compare(self, a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
        """(B,) distances of two results of `features`."""
        layers = [h((x - y).square()).mean((1, 2, 3)) for h, x, y in zip(self.heads, a, b, strict=True)]
        return torch.stack(layers).sum(0)

    def forward(self, output: Tensor, truth: Tensor) -> Tensor:
        """(B,) distances of two batches (B, 3, H, W) in [0, 1], lower is better; sides of at least 32 pixels."""
        check_pair(output, truth, in_range=False)
        return self.compare(self.features(output), self.features(truth))


def backbone_file(net: str = "squeeze") -> Path:
    """The file of a backbone, in `$LIKENESS_DATA/backbones` or else in torchvision's cache.

    Args:
        net: squeeze, alex or vgg.

    Raises:
        ConfigError: if the backbone is unknown.
        WeightsError: if the file is in neither folder.
    """
    if net not in _BACKBONES:
        raise ConfigError(f"LPIPS backbone: got '{net}', expected one of {', '.join(_BACKBONES)}")
    name = _BACKBONES[net]
    folders = [Path(torch.hub.get_dir()) / "checkpoints"]
    if data := data_folder():
        folders.insert(0, data / "backbones")
    for folder in folders:
        for file in sorted(folder.glob(f"{name}*")):
            if file.suffix in (".safetensors", ".pth"):
                return file
    raise WeightsError(
        f"LPIPS: no {name}*.safetensors or {name}*.pth in {' or '.join(map(str, folders))}; "
        f"give torchvision's file with weights.lpips=FILE"
    )


def load_lpips(path: Path | str | None = None, net: str = "squeeze") -> Lpips:
    """LPIPS with ImageNet features from a file with torchvision's key names.

    Args:
        path: `.safetensors` or `.pth`; None = the result of `backbone_file`.
        net: squeeze, alex or vgg.

    Returns:
        A frozen module, see `Lpips.forward`.

    Raises:
        ConfigError: if the backbone is unknown.
        WeightsError: if the file is missing, unreadable or of another network.
    """
    file = backbone_file(net) if path is None else Path(path)
    if net not in _BACKBONES:
        raise ConfigError(f"LPIPS backbone: got '{net}', expected one of {', '.join(_BACKBONES)}")
    try:
        if file.suffix == ".safetensors":
            stored = load_file(file)
        else:
            stored = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        raise WeightsError(f"LPIPS: cannot read {file} ({error}); expected torchvision's {_BACKBONES[net]}") from error
    module = Lpips(net)
    with torch.no_grad():
        for key, weight in module.net.state_dict().items():
            # The package splits torchvision's `features` into slices but keeps each layer's number.
            name = "features." + key.split(".", 1)[1]
            if name not in stored or stored[name].shape != weight.shape:
                raise WeightsError(f"LPIPS: {file} does not hold {name} of torchvision's {_BACKBONES[net]}")
            weight.copy_(stored[name])
    return module
