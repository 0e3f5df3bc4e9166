"""Building blocks that several networks share."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Plain ReLUs died: after 1,800 steps 47 to 75 % of the hidden units at 32 and 16 pixels were never active.
SLOPE = 0.2


def leaky(x: Tensor) -> Tensor:
    """Leaky ReLU with the slope that all networks here share, **in place**: give it a fresh tensor.

    Fresh memory costs more than the arithmetic on large maps, and the sign of the result is all
    that the gradient needs.
    """
    return F.leaky_relu_(x, SLOPE)


def haar_split(x: Tensor) -> Tensor:
    """One level of the orthonormal 2-D Haar transform (Haar 1910; Mallat 1989).

    (B, C, H, W) to (B, 4C, H/2, W/2): the bands LL, LH, HL, HH one after another, C channels each.
    Nothing is lost, so it can stand in for striding (MWCNN, Liu et al. 2018).
    """
    a, b = x[..., ::2, ::2], x[..., ::2, 1::2]
    c, d = x[..., 1::2, ::2], x[..., 1::2, 1::2]
    return torch.cat([a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d], 1) / 2


def haar_merge(x: Tensor) -> Tensor:
    """The inverse of `haar_split`: (B, 4C, H, W) to (B, C, 2H, 2W)."""
    ll, lh, hl, hh = (x / 2).chunk(4, 1)
    cells = torch.stack([ll + lh + hl + hh, ll - lh + hl - hh, ll + lh - hl - hh, ll - lh - hl + hh], 2)
    return F.pixel_shuffle(cells.flatten(1, 2), 2)


_HAAR = torch.tensor([[[1, 1], [1, 1]], [[1, -1], [1, -1]], [[1, 1], [-1, -1]], [[1, -1], [-1, 1]]]) / 2.0


def zero_bias(layer: nn.Conv2d) -> None:
    """Starts a layer's bias at zero."""
    nn.init.zeros_(cast(Tensor, layer.bias))


def _linear(layer: nn.Conv2d) -> nn.Conv2d:
    """Starts a layer so that features keep their scale."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    zero_bias(layer)
    return layer


class HaarDown(nn.Module):
    """`haar_split`, then a 1x1 convolution: (B, C, H, W) to (B, D, H/2, W/2).

    Both are linear, so they run as one strided 2x2 convolution whose kernel is the 1x1 weight
    folded with the Haar basis: same result, a fraction of the memory traffic.
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
        # The bias differs over the 2 x 2 cell. Channels last, as y lies in memory: added to a plane of the other layout
        # it took longer than the convolution.
        cell = torch.einsum("bo,bhw->hwo", cast(Tensor, self.mix.bias).view(4, -1), self.basis).to(y.dtype)
        if torch.is_grad_enabled():  # changing a view in place costs the backward pass copies
            return y.add_(cell.repeat(x.shape[2], x.shape[3], 1).permute(2, 0, 1))
        # A whole line of cells at a time: cell by cell it took three times as long as the convolution in bf16.
        lines = cell.repeat(1, x.shape[3], 1).permute(2, 0, 1)[:, None]
        return y.view(len(y), -1, x.shape[2], 2, y.shape[3]).add_(lines).view(y.shape)


class StrideDown(nn.Module):
    """The plain way, to compare with `HaarDown`: a 3x3 convolution of stride 2."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.mix = _linear(nn.Conv2d(channels_in, channels, 3, stride=2, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.mix(x)
        return y


class StrideUp(nn.Module):
    """The plain way, to compare with `HaarUp`: nearest enlargement, then a 3x3 convolution."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.mix = _linear(nn.Conv2d(channels_in, channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.mix(F.interpolate(x, scale_factor=2, mode="nearest"))
        return y


class BicubicTwice(nn.Module):
    """Bicubic enlargement by two of RGB, (B, 3, H, W) to (B, 3, 2H, 2W) in fp32 (Keys 1981, a = -3/4).

    The same as `F.interpolate(x, scale_factor=2, mode="bicubic", align_corners=False)`, as a
    convolution from 3 to 4 x 3 channels and a shuffle: torch's own kernel takes many times as long on CPU.
    """

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Every second result lies a quarter of a pixel before a source pixel, the others a quarter after it.
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
        """The 2 x 2 means of the enlargement, (B, 3, H, W) to the same."""
        with torch.autocast(x.device.type, enabled=False):
            padded = F.pad(x.float(), (2, 2, 2, 2), mode="replicate")
            return F.conv2d(padded, self.kernel.unflatten(0, (3, 4)).mean(1))


def _keys(distance: float, a: float = -0.75) -> float:
    d = distance
    return ((a + 2) * d - (a + 3)) * d * d + 1 if d <= 1 else ((a * d - 5 * a) * d + 8 * a) * d - 4 * a


class SmallBlur(nn.Conv2d):
    """A 3x3 convolution of RGB that starts as the binomial blur.

    Shuffles leave a pixel lattice; after the last one this takes its worst part away from the start, and training
    may sharpen it.
    """

    spread: Tensor

    def __init__(self) -> None:
        super().__init__(3, 3, 3, padding=1, bias=False)
        row = torch.tensor([1.0, 2.0, 1.0]) / 4
        spread = torch.zeros(2, 3, 3)  # phase in its cell, cell, tap: where the two pixels of a mean look
        for pixel in range(2):
            for tap in range(3):
                cell, phase = divmod(pixel + tap - 1, 2)
                spread[phase, cell + 1, tap] += 0.5
        self.register_buffer("spread", spread, persistent=False)
        nn.init.zeros_(self.weight)
        for channel in range(3):
            self.weight.data[channel, channel] = torch.outer(row, row)

    def kernel_of_means(self) -> Tensor:
        """(3, 12, 3, 3): applied before the shuffle, it gives the 2 x 2 means of what this gives after it."""
        kernel = torch.einsum("oiab,yha,xwb->oiyxhw", self.weight, self.spread, self.spread)
        return kernel.flatten(1, 3)


class NoiseInjection(nn.Module):
    """Adds noise to features, as much as the features themselves ask for (after StyleGAN, Karras et al. 2019, 3.2).

    A convolution turns a smooth input into something smooth or something periodic: where a blurred face has no
    texture, hatching is all that it can add. The noise is a texture to shape instead. It is drawn once, so the same
    face is restored the same way, and starts with zero effect.

    Args:
        channels: of the features, each with a noise of its own.
        size: edge of the features.
        seed: of the noise.
    """

    noise: Tensor

    def __init__(self, channels: int, size: int, seed: int) -> None:
        super().__init__()
        drawn = torch.randn(1, channels, size, size, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("noise", drawn, persistent=False)
        self.amount = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.amount.weight)
        zero_bias(self.amount)

    def forward(self, x: Tensor, shift: tuple[int, int] = (0, 0)) -> Tensor:
        """(B, C, S, S) to the same; the noise is rolled by `shift` rows and columns."""
        noise = self.noise.roll(shift, (2, 3)) if any(shift) else self.noise
        return torch.addcmul(x, self.amount(x), noise.to(x.dtype))


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each pixel: (B, C, H, W) to the same."""

    def forward(self, x: Tensor) -> Tensor:
        # In channels-last memory the permuted view is contiguous, so this costs no copy.
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ResidualBlock(nn.Module):
    """Normalisation, two dense 3x3 convolutions around one leaky ReLU, added to the input.

    (B, C, H, W) to the same. Pre-normalised as in NAFNet (Chen et al. 2022): without it
    training diverged at a learning rate of 1e-3.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.kaiming_normal_(self.conv1.weight, a=SLOPE)
        zero_bias(self.conv1)
        # Nearly the identity at the start: a stack of full blocks would drown the signal.
        nn.init.kaiming_normal_(self.conv2.weight, nonlinearity="linear")
        self.conv2.weight.data.mul_(0.1)
        zero_bias(self.conv2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(leaky(self.conv1(self.norm(x))))
        return y.add_(x)


def store_as_bf16(net: nn.Module) -> None:
    """Stores the convolutions' weights in the precision in which autocast uses them: same results, no cast per call.

    What `FourierUnit` does in fp32 stays.
    """
    kept = {id(m) for unit in net.modules() if isinstance(unit, FourierUnit) for m in unit.mix.modules()}
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and id(module) not in kept:
            module.to(torch.bfloat16)


class FourierUnit(nn.Module):
    """A 1x1 convolution on the spectrum, so that every pixel sees all others (FFC, Chi et al. 2020).

    (B, C, H, W) to the same. The transform runs in fp32: half precision has no FFT on CPU and loses
    the small frequencies.
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
            y = self._back(self.mix(self._there(y.float())), y.shape)
        return x + self.leave(y.to(x.dtype))

    def _there(self, y: Tensor) -> Tensor:
        """(B, C, H, W) to real parts, then imaginary ones, (B, 2C, H, W // 2 + 1)."""
        spectrum = torch.fft.rfft2(y, norm="ortho")
        return torch.cat([spectrum.real, spectrum.imag], 1)

    def _back(self, parts: Tensor, shape: Sequence[int]) -> Tensor:
        """The inverse, to `shape` (B, C, H, W)."""
        real, imag = parts.chunk(2, 1)
        spectrum = torch.complex(real.contiguous(), imag.contiguous())
        return torch.fft.irfft2(spectrum, s=tuple(shape[-2:]), norm="ortho")


class MatrixFourierUnit(FourierUnit):
    """A `FourierUnit` for pictures of one size, its transform a product with a matrix.

    Slower than the fast transform, but for runtimes that know no complex numbers.

    Args:
        unit: whose weights it shares.
        height, width: of the pictures.
    """

    to_spectrum: Tensor
    from_spectrum: Tensor

    def __init__(self, unit: FourierUnit, height: int, width: int) -> None:
        nn.Module.__init__(self)
        self.hidden, self.enter, self.mix, self.leave = unit.hidden, unit.enter, unit.mix, unit.leave
        self.columns = width // 2 + 1
        pixels, waves = height * width, height * self.columns
        to = unit._there(torch.eye(pixels).view(pixels, 1, height, width)).flatten(1)
        back = unit._back(torch.eye(2 * waves).view(-1, 2, height, self.columns), (1, 1, height, width)).flatten(1)
        self.register_buffer("to_spectrum", to, persistent=False)
        self.register_buffer("from_spectrum", back, persistent=False)

    def _there(self, y: Tensor) -> Tensor:
        real, imag = (y.flatten(2) @ self.to_spectrum).chunk(2, 2)
        return torch.cat([real, imag], 1).unflatten(2, (y.shape[2], self.columns))

    def _back(self, parts: Tensor, shape: Sequence[int]) -> Tensor:
        real, imag = parts.flatten(2).chunk(2, 1)
        return (torch.cat([real, imag], 2) @ self.from_spectrum).unflatten(2, (shape[2], shape[3]))


def without_complex_numbers(net: nn.Module, inputs: Sequence[Tensor]) -> nn.Module:
    """A copy of a network with a `MatrixFourierUnit` for every Fourier unit, for inputs of these shapes."""
    made, sizes = deepcopy(net), dict[nn.Module, Sequence[int]]()
    units = [m for m in made.modules() if isinstance(m, FourierUnit)]
    hooks = [u.register_forward_pre_hook(lambda unit, given: sizes.update({unit: given[0].shape})) for u in units]
    with torch.no_grad():
        made(*inputs)
    for hook in hooks:
        hook.remove()
    for parent in list(made.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, FourierUnit):
                setattr(parent, name, MatrixFourierUnit(child, *sizes[child][2:]))
    return made
