"""Networks in ncnn's format: `.param` lists the layers, `.bin` holds their weights in the same order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from likeness.errors import WeightsError

_MAGIC = "7767517"
_HALF = 0x01306B47  # flag of weights that are stored as fp16


@dataclass(frozen=True)
class ConvWeights:
    """The weights of a convolution, or of a transposed one.

    Attributes:
        name: of the layer.
        weight: (out, in, k, k) float32, for a transposed convolution too.
        bias: (out,) float32.
    """

    name: str
    weight: Tensor
    bias: Tensor


def read_ncnn(param: Path, binary: Path) -> list[ConvWeights]:
    """Reads all convolutions of a network, in order; other layers have no weights.

    Args:
        param: text: a magic number, two counts, then a line per layer: kind, name, counts, blobs and `key=value` pairs,
            of which 0 is the output channels, 1 the kernel's edge, 5 whether there is a bias, 6 the number of weights.
        binary: per convolution a flag of four bytes (fp16, padded to four bytes, or 0 for fp32), its weights, its bias.

    Raises:
        WeightsError: if a file is missing, of another format, or too short or too long.
    """
    try:
        lines, data = param.read_text().splitlines(), binary.read_bytes()
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"ncnn: {error}; install the package again") from error
    if not lines or lines[0].strip() != _MAGIC:
        raise WeightsError(f"ncnn: {param} does not begin with {_MAGIC}; expected ncnn's text format")
    layers, at = [], 0
    for line in lines[2:]:
        kind, name, *rest = line.split()
        if kind not in ("Convolution", "Deconvolution"):
            continue
        values = dict(pair.split("=", 1) for pair in rest if "=" in pair)
        outputs, edge, count = int(values["0"]), int(values["1"]), int(values["6"])
        size = 2 * count + 2 * count % 4 if data[at : at + 4] == _HALF.to_bytes(4, "little") else 4 * count
        kind_of_number = np.float16 if size < 4 * count else np.float32
        end = at + 4 + size + 4 * outputs
        if values.get("5") != "1" or end > len(data):
            raise WeightsError(f"ncnn: {binary} ends within layer {name}, or the layer has no bias; install it again")
        weight = np.frombuffer(data, kind_of_number, count, at + 4).astype(np.float32)
        bias = np.frombuffer(data, np.float32, outputs, at + 4 + size).copy()
        layers.append(
            ConvWeights(name, torch.from_numpy(weight.reshape(outputs, -1, edge, edge)), torch.from_numpy(bias))
        )
        at = end
    if at != len(data):
        raise WeightsError(f"ncnn: {binary} has {len(data) - at} bytes more than {param} describes; install it again")
    return layers
