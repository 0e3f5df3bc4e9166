"""dlib's face recognition ResNet, ported to torch.

Network and weights: Davis King, dlib (`dnn_face_recognition_ex.cpp`), public domain; 99.38 % on LFW.
The port is differentiable, which makes identity trainable. Two crops of one person lie below a
Euclidean distance of 0.6. Weights are read at run time from the PyPI package
`face_recognition_models`, in dlib's own serialisation (input side first; every layer a
length-prefixed name, then a tensor: version, four dimensions as variable-length integers, raw
little-endian float32).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likeness.errors import WeightsError

CHIP = 150  # dlib's input size
WINDOW = (45, 69, 210, 234)  # dlib's chip inside the FFHQ crop at 256 px: x0, y0, x1, y1
SAME_PERSON = 0.6
_MEAN = (122.782, 117.001, 104.298)
_STAGES = ((32, 3, False), (64, 4, True), (128, 3, True), (256, 3, True), (256, 1, True))


class _Block(nn.Module):
    """Two 3x3 convolutions and a short cut; `down` halves (B, C, H, W) without padding."""

    def __init__(self, channels_in: int, channels: int, down: bool) -> None:
        super().__init__()
        self.down = down
        stride, padding = (2, 0) if down else (1, 1)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.conv1(x)))
        short = F.avg_pool2d(x, 2) if self.down else x
        if short.shape != y.shape:  # dlib pads the smaller with zeros: bottom, right, last channels
            height, width = max(short.shape[2], y.shape[2]), max(short.shape[3], y.shape[3])
            missing = (0, width - short.shape[3], 0, height - short.shape[2], 0, y.shape[1] - short.shape[1])
            short = F.pad(short, missing)
            y = F.pad(y, (0, width - y.shape[3], 0, height - y.shape[2]))
        return F.relu(short + y)


class FaceEmbedder(nn.Module):
    """(B, 3, 150, 150) RGB in [0, 255] to (B, 128); the affine layers are folded into the convolutions."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 7, 2)
        blocks, channels_in = [], 32
        for channels, count, down in _STAGES:
            for i in range(count):
                blocks.append(_Block(channels_in, channels, down and i == 0))
                channels_in = channels
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(256, 128, bias=False)
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1))

    def forward(self, chip: Tensor) -> Tensor:
        """Embeds dlib chips, (B, 3, 150, 150) RGB in [0, 255]."""
        x = (chip - self.mean) / 256
        x = F.max_pool2d(F.relu(self.stem(x)), 3, 2)
        embedding: Tensor = self.fc(self.blocks(x).mean((2, 3)))
        return embedding

    def convolutions(self) -> list[nn.Conv2d]:
        """All convolutions, input side first, as dlib stores them."""
        return [m for m in self.modules() if isinstance(m, nn.Conv2d)]

    def embed_aligned(self, crop: Tensor) -> Tensor:
        """Embeds FFHQ-aligned crops, (B, 3, S, S) RGB in [0, 1] with S a multiple of 256, to (B, 128)."""
        embedding: Tensor = self(chips(crop.to(self.fc.weight.device)))
        return embedding

    def embed_views(self, crop: Tensor, shift: int = 4) -> Tensor:
        """Mean embedding of four views (mirrored or not, shifted by +-`shift` px at 256).

        One view can be fooled by a network that was trained on it; the mean of four much less.
        """
        step = shift * crop.shape[-1] // 256
        views = [torch.roll(v, s, dims=3) for v in (crop, crop.flip(3)) for s in (-step, step)]
        return self.embed_aligned(torch.cat(views)).view(4, len(crop), 128).mean(0)


def chips(crop: Tensor) -> Tensor:
    """Cuts dlib's chip out of FFHQ-aligned crops: (B, 3, S, S) in [0, 1] to (B, 3, 150, 150) in [0, 255]."""
    k = crop.shape[-1] / 256
    x0, y0, x1, y1 = (round(v * k) for v in WINDOW)
    window = crop[:, :, y0:y1, x0:x1] * 255
    return F.interpolate(window, (CHIP, CHIP), mode="bilinear", align_corners=False, antialias=True)


class _Reader:
    """Reads dlib's serialised network in order."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def _integer(self) -> int:
        head = self.data[self.at]
        count = head & 0x0F
        value = int.from_bytes(self.data[self.at + 1 : self.at + 1 + count], "little")
        self.at += 1 + count
        return -value if head & 0x80 else value

    def tensor_after(self, name: bytes, integers: int = 0) -> np.ndarray:
        """The next tensor that follows the layer name `name`, flat float32."""
        position = self.data.find(name, self.at)
        if position < 0:
            raise WeightsError(f"embedder: layer {name.decode()} not found; the file is not dlib's face recogniser")
        self.at = position + len(name)
        for _ in range(integers):
            self._integer()
        return self._tensor()

    def _tensor(self) -> np.ndarray:
        try:
            self._integer()  # version
            count = int(np.prod([self._integer() for _ in range(4)]))
            values = np.frombuffer(self.data, "<f4", count, self.at)
        except (IndexError, ValueError) as error:
            raise WeightsError("embedder: the file ends before its last layer; get it again") from error
        self.at += 4 * count
        return values


def weights_file() -> Path:
    """dlib's recogniser as `face_recognition_models` installs it."""
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or spec.origin is None:
        raise WeightsError(
            "embedder: the package face_recognition_models is not installed; pip install face_recognition_models"
        )
    return Path(spec.origin).parent / "models" / "dlib_face_recognition_resnet_model_v1.dat"


def load_embedder(path: Path | None = None) -> FaceEmbedder:
    """The embedder with dlib's weights, in evaluation mode, without gradients to its own weights.

    Args:
        path: dlib's `.dat`; by default the one of `face_recognition_models`.

    Raises:
        WeightsError: if the file is missing or is something else.
    """
    file = path or weights_file()
    try:
        reader = _Reader(file.read_bytes())
    except OSError as error:
        raise WeightsError(f"embedder: cannot read {file} ({error.strerror}); reinstall it") from error
    net = FaceEmbedder()
    with torch.no_grad():
        for conv in net.convolutions():
            values = torch.from_numpy(reader.tensor_after(b"con_4").copy())
            if values.numel() != conv.weight.numel() + conv.out_channels:
                raise WeightsError(f"embedder: {file} holds a layer of {values.numel()} weights, expected another size")
            weight, bias = values[: conv.weight.numel()].view_as(conv.weight), values[conv.weight.numel() :]
            scale = torch.from_numpy(reader.tensor_after(b"affine_").copy())
            gamma, beta = scale[: conv.out_channels], scale[conv.out_channels :]
            conv.weight.copy_(weight * gamma.view(-1, 1, 1, 1))
            assert conv.bias is not None
            conv.bias.copy_(bias * gamma + beta)
        fc = torch.from_numpy(reader.tensor_after(b"fc_2", integers=2).copy())
        net.fc.weight.copy_(fc.view(256, 128).T)
    return net.eval().requires_grad_(False)
