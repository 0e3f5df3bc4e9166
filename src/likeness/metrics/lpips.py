"""Learned perceptual image patch similarity (Zhang et al., CVPR 2018), as a metric and as a loss.

The heads come from the `lpips` package; the backbone's ImageNet features from a file with
torchvision's key names, so nothing is fetched at run time.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import lpips as reference
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from likeness.errors import ConfigError, WeightsError
from likeness.metrics.images import ImageMean, check_pair

_BACKBONES = {"squeeze": "squeezenet1_1", "alex": "alexnet", "vgg": "vgg16"}  # torchvision's names
_TINY = 1e-20
FACE = (slice(None), slice(None), slice(69, 234), slice(45, 210))  # of an FFHQ-256 crop: what dlib's recogniser reads


class Lpips(nn.Module):
    """LPIPS v0.1 with linear heads; its own weights take no gradient, its inputs do."""

    def __init__(self, net: str = "squeeze") -> None:
        super().__init__()
        # The package draws random backbone weights that are replaced later; the caller's seed must not notice.
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it calls torchvision by deprecated arguments
            package = reference.LPIPS(net=net, pnet_rand=True, verbose=False)
        self.scaling = package.scaling_layer
        self.net = package.net
        self.heads = package.lins
        self.eval().requires_grad_(False)

    def features(self, images: Tensor) -> list[Tensor]:
        """Unit-length features of (B, 3, H, W) images in [0, 1], one (B, C, h, w) a layer.

        A truth that several outputs are compared with needs them once.
        """
        images = images.contiguous(memory_format=torch.channels_last)  # CPU pooling is ten times as fast
        outputs = self.net(self.scaling(2 * images - 1))
        # The square root's slope at zero is infinite: without the constant a dead pixel makes the loss nan.
        return [x / (x.square().sum(1, keepdim=True) + _TINY).sqrt() for x in outputs]

    def compare(self, a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
        """(B,) distance of two results of `features`."""
        layers = [h((x - y).square()).mean((1, 2, 3)) for h, x, y in zip(self.heads, a, b, strict=True)]
        return torch.stack(layers).sum(0)

    def forward(self, output: Tensor, truth: Tensor) -> Tensor:
        """(B,) distance of two (B, 3, H, W) batches in [0, 1], lower is better; sides of at least 32 pixels."""
        check_pair(output, truth, in_range=False)
        return self.compare(self.features(output), self.features(truth))


class LpipsMean(ImageMean):
    """Running mean of LPIPS."""

    higher_is_better = False

    def __init__(self, network: Lpips) -> None:
        super().__init__()
        self.network = network

    def per_image(self, output: Tensor, truth: Tensor) -> Tensor:
        """(B,) distances."""
        return cast(Tensor, self.network(output, truth))


def backbone_file(net: str = "squeeze") -> Path:
    """Where the backbone of `net` lies: `$LIKENESS_DATA/backbones`, else torchvision's own cache.

    Raises:
        ConfigError: if `net` is not squeeze, alex or vgg.
        WeightsError: if the file is in neither place.
    """
    if net not in _BACKBONES:
        raise ConfigError(f"LPIPS backbone: got '{net}', expected one of {', '.join(_BACKBONES)}")
    name = _BACKBONES[net]
    folders = [Path(torch.hub.get_dir()) / "checkpoints"]
    if root := os.environ.get("LIKENESS_DATA"):
        folders.insert(0, Path(root) / "backbones")
    for folder in folders:
        for file in sorted(folder.glob(f"{name}*")):
            if file.suffix in (".safetensors", ".pth"):
                return file
    raise WeightsError(
        f"LPIPS: no {name}*.safetensors or {name}*.pth in {' or '.join(map(str, folders))}; "
        f"name torchvision's file with weights.lpips=FILE"
    )


def load_lpips(path: Path | str | None = None, net: str = "squeeze") -> Lpips:
    """LPIPS with ImageNet features from a file with torchvision's key names.

    Args:
        path: `.safetensors` or `.pth`; by default what `backbone_file` finds.
        net: squeeze, alex or vgg.

    Returns:
        A module: forward(a, b), (B, 3, H, W) in [0, 1] each, gives (B,); differentiable in a and b.

    Raises:
        ConfigError: if `net` is unknown.
        WeightsError: if the file is missing, unreadable, or of another network.
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
            # The package cuts torchvision's `features` into slices but keeps each layer's number.
            name = "features." + key.split(".", 1)[1]
            if name not in stored or stored[name].shape != weight.shape:
                raise WeightsError(f"LPIPS: {file} does not hold {name} of torchvision's {_BACKBONES[net]}")
            weight.copy_(stored[name])
    return module
