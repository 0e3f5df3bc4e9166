"""Building blocks that several networks share."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# With plain ReLUs 47 to 75 % of the hidden units at 32 and 16 pixels were never active after 1,800 steps.
SLOPE = 0.2


def leaky(x: Tensor) -> Tensor:
    """In-place leaky ReLU with the slope that all networks share; the input is overwritten.

    On large maps allocating memory costs more than the arithmetic. The gradient needs only the sign of the result.
    """
    return F.leaky_relu_(x, SLOPE)


def haar_split(x: Tensor) -> Tensor:
    """One level of the orthonormal 2-D Haar transform (Haar 1910; Mallat 1989).

    (B, C, H, W) to (B, 4C, H/2, W/2): the bands LL, LH, HL, HH in this order, C channels each. The transform is
    lossless, so it can replace striding (MWCNN, Liu et al. 2018).
    """
    a, b = x[..., ::2, ::2], x[..., ::2, 1::2]
    c, d = x[..., 1::2, ::2], x[..., 1::2, 1::2]
    return torch.cat([a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d], 1) / 2


_HAAR = torch.tensor([[[1, 1], [1, 1]], [[1, -1], [1, -1]], [[1, 1], [-1, -1]], [[1, -1], [-1, 1]]]) / 2.0


def zero_bias(layer: nn.Conv2d | nn.Linear) -> None:
    """Initialises a layer's bias to zero."""
    nn.init.zeros_(cast(Tensor, layer.bias))


def _linear(layer: nn.Conv2d) -> nn.Conv2d:
    """Initialises a layer so that features keep their scale."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    zero_bias(layer)
    return layer


class HaarDown(nn.Module):
    """`haar_split`, then a 1x1 convolution: (B, C, H, W) to (B, D, H/2, W/2).

    Both are linear, so they run as one strided 2x2 convolution whose kernel is the 1x1 weight folded with the Haar
    basis. The result is the same with a fraction of the memory traffic.
    """

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.mix = _linear(nn.Conv2d(4 * channels_in, channels, 1))
        self.register_buffer("basis", _HAAR.clone(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.mix.weight.view(self.mix.out_channels, 4, -1)
        kernel = torch.einsum("obi,bhw->oihw", weight, self.basis)
        return F.conv2d(x, kernel, self.mix.bias, stride=2)


class HaarUp(nn.Module):
    """A 1x1 convolution, then `haar_merge`: (B, C, H, W) to (B, D, 2H, 2W), folded like `HaarDown`."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.mix = _linear(nn.Conv2d(channels_in, 4 * channels, 1))
        self.register_buffer("basis", _HAAR.clone(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.mix.weight.view(4, -1, self.mix.in_channels)
        kernel = torch.einsum("boi,bhw->iohw", weight, self.basis)
        y = F.conv_transpose2d(x, kernel, stride=2)
        # The bias differs over the 2 x 2 cell. It has y's memory layout, channels last: adding another layout took
        # longer than the convolution.
        cell = torch.einsum("bo,bhw->hwo", cast(Tensor, self.mix.bias).view(4, -1), self.basis).to(y.dtype)
        if torch.is_grad_enabled():  # an in-place change of a view makes the backward pass copy
            return y.add_(cell.repeat(x.shape[2], x.shape[3], 1).permute(2, 0, 1))
        # Whole lines of cells: in bf16, adding cell by cell took three times as long as the convolution.
        lines = cell.repeat(1, x.shape[3], 1).permute(2, 0, 1)[:, None]
        return y.view(len(y), -1, x.shape[2], 2, y.shape[3]).add_(lines).view(y.shape)


class BicubicTwice(nn.Module):
    """Bicubic enlargement by two of RGB, (B, 3, H, W) to (B, 3, 2H, 2W) in fp32 (Keys 1981, a = -3/4).

    Equals `F.interpolate(x, scale_factor=2, mode="bicubic", align_corners=False)`. It is a convolution from 3 to 4 x 3
    channels and a pixel shuffle; on CPU torch's own kernel takes many times as long.
    """

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Every second output pixel lies a quarter pixel before a source pixel, the others a quarter pixel after it.
        before = torch.tensor([_keys(1.75), _keys(0.75), _keys(0.25), _keys(1.25), 0.0])
        phases = torch.stack([before, before.flip(0)])
        kernel = torch.zeros(3, 2, 2, 3, 5, 5)
        for channel in range(3):
            kernel[channel, :, :, channel] = torch.einsum("py,qx->pqyx", phases, phases)
        self.register_buffer("kernel", kernel.flatten(0, 2), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            padded = F.pad(x.float(), (2, 2, 2, 2), mode="replicate")
            return F.pixel_shuffle(F.conv2d(padded, self.kernel), 2)

    def means(self, x: Tensor) -> Tensor:
        """The 2 x 2 means of the enlarged image, (B, 3, H, W) to the same shape."""
        with torch.autocast(x.device.type, enabled=False):
            padded = F.pad(x.float(), (2, 2, 2, 2), mode="replicate")
            return F.conv2d(padded, self.kernel.unflatten(0, (3, 4)).mean(1))


def _keys(distance: float, a: float = -0.75) -> float:
    d = distance
    return ((a + 2) * d - (a + 3)) * d * d + 1 if d <= 1 else ((a * d - 5 * a) * d + 8 * a) * d - 4 * a


class SmallBlur(nn.Conv2d):
    """A 3x3 convolution of RGB that is initialised as the binomial blur.

    It follows the last pixel shuffle. Shuffles leave a pixel lattice, most of which the blur removes; training may
    sharpen it.
    """

    spread: Tensor

    def __init__(self) -> None:
        super().__init__(3, 3, 3, padding=1, bias=False)
        row = torch.tensor([1.0, 2.0, 1.0]) / 4
        spread = torch.zeros(2, 3, 3)  # phase in the cell, cell, tap: what the two pixels of a mean read
        for pixel in range(2):
            for tap in range(3):
                cell, phase = divmod(pixel + tap - 1, 2)
                spread[phase, cell + 1, tap] += 0.5
        self.register_buffer("spread", spread, persistent=False)
        nn.init.zeros_(self.weight)
        for channel in range(3):
            self.weight.data[channel, channel] = torch.outer(row, row)

    def kernel_of_means(self) -> Tensor:
        """(3, 12, 3, 3) kernel that, applied before the shuffle, gives the 2 x 2 means of this layer after it."""
        kernel = torch.einsum("oiab,yha,xwb->oiyxhw", self.weight, self.spread, self.spread)
        return kernel.flatten(1, 3)


class NoiseInjection(nn.Module):
    """Adds noise to features, scaled by a 1x1 convolution of them (after StyleGAN, Karras et al. 2019, section 3.2).

    A convolution turns a smooth input into a smooth or a periodic output, so where a blurred face has no texture it can
    only add hatching. The noise gives it texture to shape. The noise is fixed, so the same face is always restored the
    same way. At initialisation it has no effect.

    Args:
        channels: of the features; each has its own noise.
        size: edge of the features.
        seed: of the noise.
    """

    noise: Tensor

    def __init__(self, channels: int, size: int, seed: int) -> None:
        super().__init__()
        noise = torch.randn(1, channels, size, size, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("noise", noise, persistent=False)
        self.amount = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.amount.weight)
        zero_bias(self.amount)

    def forward(self, x: Tensor, shift: tuple[int, int] = (0, 0)) -> Tensor:
        """(B, C, S, S) to the same shape; the noise is rolled by `shift` rows and columns."""
        noise = self.noise.roll(shift, (2, 3)) if any(shift) else self.noise
        return torch.addcmul(x, self.amount(x), noise.to(x.dtype))


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each pixel: (B, C, H, W) to the same shape."""

    def forward(self, x: Tensor) -> Tensor:
        # In channels-last memory the permuted view is contiguous, so no copy is needed.
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ResidualBlock(nn.Module):
    """Normalisation, two dense 3x3 convolutions around one leaky ReLU, added to the input.

    (B, C, H, W) to the same shape. Pre-normalised as in NAFNet (Chen et al. 2022); without it training diverged at a
    learning rate of 1e-3.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.kaiming_normal_(self.conv1.weight, a=SLOPE)
        zero_bias(self.conv1)
        # Close to the identity at initialisation, so that a deep stack keeps the signal.
        nn.init.kaiming_normal_(self.conv2.weight, nonlinearity="linear")
        self.conv2.weight.data.mul_(0.1)
        zero_bias(self.conv2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(leaky(self.conv1(self.norm(x))))
        return y.add_(x)


def residual_blocks(channels: int, count: int) -> nn.Sequential:
    """So many `ResidualBlock`s in a row."""
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(count)))


def store_as_bf16(net: nn.Module) -> None:
    """Casts the convolutions' weights to bf16, as autocast would at every call; the results are the same.

    The convolutions that `FourierUnit` runs in fp32 keep their precision.
    """
    kept = {id(m) for unit in net.modules() if isinstance(unit, FourierUnit) for m in unit.mix.modules()}
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and id(module) not in kept:
            module.to(torch.bfloat16)


class FourierUnit(nn.Module):
    """Convolutions of 1x1 on the spectrum, whose receptive field is the whole image (FFC, Chi et al. 2020).

    (B, C, H, W) to the same shape. The transform runs in fp32: CPUs have no FFT in half precision, and small
    coefficients would be lost.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.enter = nn.Conv2d(channels, hidden, 1)
        self.mix = nn.Sequential(
            nn.Conv2d(2 * hidden, 2 * hidden, 1), nn.LeakyReLU(SLOPE), nn.Conv2d(2 * hidden, 2 * hidden, 1)
        )
        self.leave = nn.Conv2d(hidden, channels, 1)
        nn.init.zeros_(self.leave.weight)
        zero_bias(self.leave)

    def forward(self, x: Tensor) -> Tensor:
        y = leaky(self.enter(x))
        with torch.autocast(x.device.type, enabled=False):
            y = self._from_spectrum(self.mix(self._to_spectrum(y.float())), y.shape)
        return x + self.leave(y.to(x.dtype))

    def _to_spectrum(self, y: Tensor) -> Tensor:
        """(B, C, H, W) to the real and then the imaginary parts, (B, 2C, H, W // 2 + 1)."""
        spectrum = torch.fft.rfft2(y, norm="ortho")
        return torch.cat([spectrum.real, spectrum.imag], 1)

    def _from_spectrum(self, parts: Tensor, shape: Sequence[int]) -> Tensor:
        """The inverse, to `shape` (B, C, H, W)."""
        real, imag = parts.chunk(2, 1)
        spectrum = torch.complex(real.contiguous(), imag.contiguous())
        return torch.fft.irfft2(spectrum, s=tuple(shape[-2:]), norm="ortho")


class MatrixFourierUnit(FourierUnit):
    """A `FourierUnit` for one image size whose transform is a matrix product.

    It is slower than the fast transform, but runs where complex numbers are not supported (ONNX).

    Args:
        unit: the unit whose weights it shares.
        height, width: of the features.
    """

    to_spectrum: Tensor
    from_spectrum: Tensor

    def __init__(self, unit: FourierUnit, height: int, width: int) -> None:
        nn.Module.__init__(self)
        self.hidden, self.enter, self.mix, self.leave = unit.hidden, unit.enter, unit.mix, unit.leave
        self.columns = width // 2 + 1
        pixels, waves = height * width, height * self.columns
        to = unit._to_spectrum(torch.eye(pixels).view(pixels, 1, height, width)).flatten(1)
        parts = torch.eye(2 * waves).view(-1, 2, height, self.columns)
        back = unit._from_spectrum(parts, (1, 1, height, width)).flatten(1)
        self.register_buffer("to_spectrum", to, persistent=False)
        self.register_buffer("from_spectrum", back, persistent=False)

    def _to_spectrum(self, y: Tensor) -> Tensor:
        real, imag = (y.flatten(2) @ self.to_spectrum).chunk(2, 2)
        return torch.cat([real, imag], 1).unflatten(2, (y.shape[2], self.columns))

    def _from_spectrum(self, parts: Tensor, shape: Sequence[int]) -> Tensor:
        real, imag = parts.flatten(2).chunk(2, 1)
        return (torch.cat([real, imag], 2) @ self.from_spectrum).unflatten(2, (shape[2], shape[3]))


def without_complex_numbers(net: nn.Module, inputs: Sequence[Tensor]) -> nn.Module:
    """A copy of a network, for inputs of these shapes, in which a `MatrixFourierUnit` replaces every `FourierUnit`."""
    copy, sizes = deepcopy(net), dict[nn.Module, Sequence[int]]()
    units = [m for m in copy.modules() if isinstance(m, FourierUnit)]
    hooks = [u.register_forward_pre_hook(lambda unit, args: sizes.update({unit: args[0].shape})) for u in units]
    with torch.no_grad():
        copy(*inputs)
    for hook in hooks:
        hook.remove()
    for parent in list(copy.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, FourierUnit):
                setattr(parent, name, MatrixFourierUnit(child, *sizes[child][2:]))
    return copy
